"""What all benchmarks share: a sample, a lazy sequence of them, and reading published rows."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, overload

import datasets
import numpy as np
import pyarrow as pa
from PIL import Image
from pyarrow import parquet

from lost_in_attention.paths import data_folder

# Pillow raises SyntaxError for a damaged PNG.
_UNREADABLE = (OSError, SyntaxError, TypeError, ValueError, Image.DecompressionBombError)
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


class Judgement(NamedTuple):
    """What a reply was understood as, and whether that is right; None is never right."""

    parsed: str | None
    correct: bool


@dataclass(frozen=True)
class Sample:
    """One question.

    `prompt` is what the model reads; "<image 1>", "<image 2>" in it say where images stand,
    without them all stand first.  `answer` is the gold answer in the form that the benchmark
    judges, `group` the part that it is scored in, `image_source` the image's name, `options`
    the lettered options (none for an open question), `fields` further columns for the score.
    """

    id: str
    images: tuple[Image.Image, ...]
    question: str
    prompt: str
    answer: str
    group: str
    image_source: str
    options: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)

    @property
    def image(self) -> Image.Image:
        """The first image, which is the only one of most questions."""
        return self.images[0]

    def blanked(self) -> "Sample":
        """The same question on images of one grey: what can be answered without seeing."""
        blank = tuple(Image.new("RGB", image.size, (128, 128, 128)) for image in self.images)
        return replace(self, images=blank)


@dataclass(frozen=True)
class Samples(Sequence[Sample]):
    """Samples of a benchmark, made when asked for: images are not kept in memory.

    `build` turns a row, as the benchmark's authors publish it, and its number into a sample.
    """

    table: datasets.Dataset
    build: Callable[[dict, int], Sample]
    chosen: Sequence[int]
    blank: bool = False

    def __len__(self) -> int:
        return len(self.chosen)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> "Samples": ...

    def __getitem__(self, index):
        if isinstance(index, slice):
            return replace(self, chosen=self.chosen[index])
        row = self.chosen[index]
        sample = self.build(self.table[row], row)
        return sample.blanked() if self.blank else sample

    def blanked(self) -> "Samples":
        """The same questions without their images."""
        return replace(self, blank=True)

    def draw(self, count: int, *, seed: int) -> "Samples":
        """`count` different samples, in the benchmark's order.

        Raises ValueError if there are not that many.
        """
        if not 0 < count <= len(self):
            raise ValueError(f"count: expected 1 to {len(self)}, got {count}")
        drawn = np.random.default_rng(seed).choice(len(self), count, replace=False)
        return replace(self, chosen=[self.chosen[i] for i in sorted(drawn)])


@dataclass(frozen=True)
class Published:
    """Where a benchmark lies and what its rows hold.

    `splits` maps each split to its configuration on the hub; the first is the default.
    `configurations` names those of other repositories.  Pictures stand in the columns
    `pictures`; an alternative in `columns` is parted by "|".
    """

    key: str
    hub: str
    splits: Mapping[str, str | None]
    columns: Sequence[str]
    pictures: Sequence[str] = ("image",)
    configurations: Mapping[str, str] = field(default_factory=dict)

    def read(self, source: str | Path, split: str | None) -> datasets.Dataset:
        """Rows of the embedded set ("digits"), of its own repository ("hub"), of a folder with
        SPLIT*.parquet, or of another repository by its id.

        Raises:
            ValueError: an unknown split, missing columns, no rows.
            FileNotFoundError: no such folder, or one without such a split.
        """
        split = split or next(iter(self.splits))
        if split not in self.splits:
            raise ValueError(f"split: expected one of {list(self.splits)}, got {split!r}")
        if source == "digits":
            source = data_folder() / "digits" / self.key
        if Path(source).is_dir():
            table = _from_folder(Path(source), split)
        else:
            table = self._from_hub(self.hub if source == "hub" else source, split)
        self._check(table, source)
        for column in set(self.pictures) & set(table.column_names):
            table = table.cast_column(column, datasets.Image(decode=False))
        return table

    def _from_hub(self, source: str | Path, split: str) -> datasets.Dataset:
        if isinstance(source, Path) or not _HUB_ID.fullmatch(source):
            raise FileNotFoundError(
                f"source: expected 'digits', 'hub', a folder that exists or a hub id such as "
                f"{self.hub!r}, got {str(source)!r}"
            )
        configuration = self.configurations.get(source, self.splits[split])
        return datasets.load_dataset(source, configuration, split=split)

    def _check(self, table: datasets.Dataset, source: str | Path) -> None:
        present = set(table.column_names)
        missing = [c for c in self.columns if not present & set(c.split("|"))]
        if missing:
            raise ValueError(
                f"source: expected columns {list(self.columns)}, {missing} missing from "
                f"{str(source)!r}, got {table.column_names}"
            )


def picture(row: dict, index: int, column: str = "image") -> Image.Image:
    """A row's picture, decoded.  Raises ValueError that names row and column if it cannot be."""
    value = {"path": row[column]} if isinstance(row[column], str) else row[column] or {}
    try:
        return datasets.Image().decode_example({"bytes": None, "path": None} | value).convert("RGB")
    except _UNREADABLE as error:
        raise ValueError(f"row {index}, column {column!r}: cannot be decoded: {error}") from error


def picture_name(row: dict, default: str, column: str = "image") -> str:
    """The name that the picture was published under; `default` where there is none."""
    value = row.get(column)
    path = value if isinstance(value, str) else (value or {}).get("path")
    return Path(path).stem if path else default


def expect(value: object, allowed: Sequence[str], index: int, column: str) -> str:
    """`value` as text.  Raises ValueError that names row and column if it is not allowed."""
    text = str(value).strip()
    if text not in allowed:
        raise ValueError(
            f"row {index}, column {column!r}: expected one of {list(allowed)}, got {value!r}"
        )
    return text


def _from_folder(folder: Path, split: str) -> datasets.Dataset:
    files = sorted(str(path) for path in folder.glob(f"**/{split}*.parquet"))
    if not files:
        present = sorted(path.name for path in folder.glob("**/*.parquet"))
        raise FileNotFoundError(
            f"split: expected files named {split}*.parquet in {folder}, got {present}"
        )
    # datasets' own refusal of an empty table does not say what is empty.
    if not any(parquet.read_metadata(file).num_rows for file in files):
        raise ValueError(f"source: expected at least one row in {files}, got none")
    # datasets' own reader takes names for patterns, so that "[1]" in a folder's name finds nothing.
    return datasets.Dataset(pa.concat_tables(map(parquet.read_table, files)))
