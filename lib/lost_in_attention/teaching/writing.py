"""Making files of chapters, and never in the place of a student's work."""

from collections.abc import Callable, Mapping
from pathlib import Path

import jupytext
from nbformat import NotebookNode

from lost_in_attention.runs.files import replaced_when_complete
from lost_in_attention.runs.paths import check_writable


def made_of(
    sources: list[Path], make: Callable[[NotebookNode], NotebookNode]
) -> dict[str, NotebookNode]:
    """What `make` makes of each py:percent source, by the chapter's name.

    Raises:
        FileNotFoundError: a source is not there.
        ValueError: what `make` raises, with the file named.
    """
    for source in sources:
        if not source.is_file():
            raise FileNotFoundError(f"sources: expected {source} to be a file")
    made = {}
    for source in sources:
        try:
            made[source.stem] = make(jupytext.read(source))
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from error
    return made


def write_new(texts: Mapping[Path, str], output: Path) -> list[Path]:
    """Write texts to paths below `output`; the paths written.

    Raises, before anything is written:
        ValueError: an `output` that cannot be written or holds a folder of a file's name.
        FileExistsError: a file lies there that says something else, such as a student's work.
    """
    check_writable("output", output)
    if folders := [str(path) for path in texts if path.is_dir()]:
        raise ValueError(f"output: expected files or nothing, got the folder {folders[0]!r}")
    other = [
        str(path) for path, text in texts.items() if path.exists() and path.read_text() != text
    ]
    if other:
        raise FileExistsError(
            f"output: expected no exercises that were worked on, found {', '.join(other)}; "
            "move them or choose another folder"
        )
    for path, text in texts.items():
        with replaced_when_complete(path) as part:
            part.write_text(text)
    return list(texts)
