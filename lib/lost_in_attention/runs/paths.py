"""Where the repository keeps its data, and whether files can be written where they should go."""

import os
import tempfile
from pathlib import Path

# The repository, where the library is used from there.
_ROOT, _ROOT_NAME = Path(__file__).parents[3], "lost_in_attention"


def data_folder() -> Path:
    """The `data` folder: $LOST_IN_ATTENTION_DATA, or the one beside the library's sources.

    Raises FileNotFoundError if it is not there (the library was installed without
    the repository).
    """
    folder = Path(os.environ.get("LOST_IN_ATTENTION_DATA", _ROOT / "data"))
    if not folder.is_dir():
        raise FileNotFoundError(
            f"data folder: expected {folder} to exist; "
            "run from a clone of the repository or set LOST_IN_ATTENTION_DATA"
        )
    return folder


def cache_folder() -> Path:
    """Where what was obtained is kept: $LOST_IN_ATTENTION_CACHE, or `.cache` in the repository.

    A library that was installed without the repository keeps it in the user's `.cache`.
    """
    usual = _ROOT / ".cache" if (_ROOT / "data").is_dir() else Path.home() / ".cache" / _ROOT_NAME
    return Path(os.environ.get("LOST_IN_ATTENTION_CACHE", usual))


def check_place(argument: str, path: Path) -> None:
    """Raises ValueError that names `argument` unless a file can be put at `path`.

    One that is there may be replaced, a folder not.
    """
    if path.is_dir():
        raise ValueError(f"{argument}: expected a file or nothing, got a folder at {str(path)!r}")
    check_writable(argument, path.parent)


def check_writable(argument: str, path: Path) -> None:
    """Raises ValueError that names `argument` unless files can be made at or below `path`.

    Nothing is left behind: the nearest folder that exists is tried.
    """
    place = next(each for each in (path, *path.absolute().parents) if each.exists())
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise ValueError(
            f"{argument}: expected a place that can be written, got {str(path)!r} "
            f"({error.strerror})"
        ) from error
