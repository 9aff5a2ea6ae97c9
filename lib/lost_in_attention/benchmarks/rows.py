"""The rows of a folder of Parquet files, read straight from the files.

Nothing is copied to a cache: a replaced file never answers with its old rows, and no folder has to
be writable.  Pictures are read by the row group that is asked for, other columns on their own.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from lost_in_attention.benchmarks.addresses import is_address


class Rows:
    """A sequence of rows (dicts of column to value), or of one column's values by its name.

    `pictures` are the columns whose values may be paths; only files inside `folder` are read.
    Raises ValueError if a file is not Parquet.
    """

    def __init__(self, folder: Path, files: Sequence[Path], pictures: Sequence[str]) -> None:
        self.folder = Path(folder).resolve()
        self.pictures = pictures
        self._files = [_opened(file) for file in files]
        self._groups = [(file, n) for file in self._files for n in range(file.num_row_groups)]
        sizes = [file.metadata.row_group(n).num_rows for file, n in self._groups]
        self._starts = np.cumsum([0, *sizes])
        # The row group that was read last: rows are asked for in order.
        self._held: tuple[int, pa.Table | None] = (-1, None)

    @property
    def column_names(self) -> list[str]:
        """The columns that all files have."""
        names = [file.schema_arrow.names for file in self._files]
        return [name for name in names[0] if all(name in other for other in names)]

    def __len__(self) -> int:
        return int(self._starts[-1])

    @overload
    def __getitem__(self, index: str) -> list: ...
    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...

    def __getitem__(self, index):
        if isinstance(index, str):
            return [v for file in self._files for v in file.read([index])[index].to_pylist()]
        if not 0 <= index < len(self):
            raise IndexError(f"row: expected 0 to {len(self) - 1}, got {index}")
        number = int(np.searchsorted(self._starts, index, side="right")) - 1
        [row] = self._group(number).slice(index - self._starts[number], 1).to_pylist()
        for column in set(self.pictures) & set(row):
            row[column] = self._read(row[column], index, column)
        return row

    def _group(self, number: int) -> pa.Table:
        if self._held[0] != number:
            file, place = self._groups[number]
            self._held = (number, file.read_row_group(place))
        return self._held[1]

    def _read(self, value: object, index: int, column: str) -> object:
        """A picture's value with its bytes, where it holds nothing but the path of a file."""
        path = value.get("path") if isinstance(value, dict) else value
        held = isinstance(value, dict) and value.get("bytes") is not None
        if held or not isinstance(path, str) or not path or is_address(path):
            return value
        try:
            file = (self.folder / path).resolve()
            inside = file.is_relative_to(self.folder)
            content = file.read_bytes() if inside else None
        except (OSError, ValueError) as error:
            raise ValueError(
                f"row {index}, column {column!r}: cannot be decoded: no file {path!r} in the "
                "source's folder"
            ) from error
        if not inside:
            raise ValueError(
                f"row {index}, column {column!r}: expected a picture inside the source's folder, "
                f"got {path!r}"
            )
        return {"bytes": content, "path": path}


def files_of(folder: Path, split: str, configurations: Sequence[str] = ()) -> list[Path]:
    """SPLIT.parquet and SPLIT-*.parquet (the hub's "test-00000-of-00003") anywhere in `folder`.

    Of a copied repository with several configurations only those named are searched.
    Raises FileNotFoundError if there are none.
    """
    own = [folder / name for name in configurations if (folder / name).is_dir()]
    for part in [*own, folder]:
        found = [*part.glob(f"**/{split}.parquet"), *part.glob(f"**/{split}-*.parquet")]
        if found:
            return sorted(found)
    present = sorted(path.name for path in folder.glob("**/*.parquet"))
    raise FileNotFoundError(
        f"split: expected {split}.parquet or {split}-*.parquet in {folder}, got {present}"
    )


def _opened(file: Path) -> parquet.ParquetFile:
    """Equal pictures stay one in memory where the file stores them once."""
    try:
        schema = parquet.read_metadata(file).schema
        leaves = [schema.column(place).path for place in range(len(schema))]
        shared = [path for path in leaves if path.endswith(".bytes")]
        return parquet.ParquetFile(file, read_dictionary=shared)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"source: expected Parquet in {file}, got {error}") from error
