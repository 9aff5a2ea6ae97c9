"""Writing files and folders so that a reader never meets half of one."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replaced_when_complete(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, renamed onto it if the block succeeds, removed if not."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def replace_folder(new: Path, old: Path) -> None:
    """Give the folder `new` the name of `old`, and remove the old one once that is done.

    Both lie on one file system.  The old one is whole until the new one is in place: under its own
    name or, between two renames, as .replaced/<name> beside it, where the next call finds it.
    """
    _settle(old)
    try:
        if old.exists():
            _aside(old).parent.mkdir(exist_ok=True)
            old.rename(_aside(old))
        old.parent.mkdir(parents=True, exist_ok=True)
        new.rename(old)
    finally:
        _settle(old)


def _aside(folder: Path) -> Path:
    return folder.parent / ".replaced" / folder.name


def _settle(folder: Path) -> None:
    """Put back what a call that broke off had put aside, or remove it if it was replaced."""
    aside = _aside(folder)
    if aside.exists() and not folder.exists():
        aside.rename(folder)
    shutil.rmtree(aside, ignore_errors=True)
    with suppress(OSError):
        aside.parent.rmdir()
