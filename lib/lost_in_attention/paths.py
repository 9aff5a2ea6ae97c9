"""Where the repository keeps its data, wherever a notebook or a command is started."""

import os
from pathlib import Path


def data_folder() -> Path:
    """The `data` folder: $LOST_IN_ATTENTION_DATA, or the one beside the library's sources.

    Raises FileNotFoundError if it is not there (the library was installed without
    the repository).
    """
    folder = Path(os.environ.get("LOST_IN_ATTENTION_DATA", Path(__file__).parents[2] / "data"))
    if not folder.is_dir():
        raise FileNotFoundError(
            f"data folder: expected {folder} to exist; "
            "run from a clone of the repository or set LOST_IN_ATTENTION_DATA"
        )
    return folder
