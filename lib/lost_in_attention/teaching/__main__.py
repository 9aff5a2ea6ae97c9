"""python -m lost_in_attention.teaching SOURCES... --output FOLDER: write the student versions.

With --nbgrader: assignments for nbgrader in their place.
"""

from pathlib import Path
from typing import Annotated

import typer

from lost_in_attention.runs.refusals import run
from lost_in_attention.teaching.nbgrader import write_assignments
from lost_in_attention.teaching.student import write_student_versions

app = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def exercises(
    sources: Annotated[list[Path], typer.Argument(help="Chapters, as py:percent files.")],
    output: Path = Path("build/exercises"),
    nbgrader: Annotated[bool, typer.Option("--nbgrader", help="Assignments for nbgrader.")] = False,
) -> None:
    """Write chapters without their solutions, as .py and .ipynb."""
    write = write_assignments if nbgrader else write_student_versions
    for path in write(sources, output):
        typer.echo(path)


if __name__ == "__main__":
    run(app)
