"""python -m lost_in_attention.teaching SOURCES... --output FOLDER: write the student versions."""

from pathlib import Path
from typing import Annotated

import typer

from lost_in_attention.runs.refusals import run
from lost_in_attention.teaching.student import write_student_versions

app = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def exercises(
    sources: Annotated[list[Path], typer.Argument(help="Chapters, as py:percent files.")],
    output: Path = Path("build/exercises"),
) -> None:
    """Write chapters without their solutions, as .py and .ipynb."""
    for path in write_student_versions(sources, output):
        typer.echo(path)


if __name__ == "__main__":
    run(app)
