"""What all benchmarks share: a sample, a lazy sequence of them, and reading published rows."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, overload

import datasets
import numpy as np
from PIL import Image

from lost_in_attention.benchmarks.addresses import fetched
from lost_in_attention.benchmarks.rows import Rows, files_of
from lost_in_attention.benchmarks.values import check_values, is_name, is_option, is_text
from lost_in_attention.images import rgb
from lost_in_attention.runs.paths import data_folder

# Pillow raises SyntaxError for a damaged PNG.
_UNREADABLE = (
    AttributeError, OSError, SyntaxError, TypeError, ValueError, Image.DecompressionBombError,
)  # fmt: skip
# The embedded sets: folders of the repository's data.
WORLDS = ("digits", "pictures")
_HUB_ID = re.compile(r"\w[\w.-]*/[\w.-]+")


def is_source(source: str) -> bool:
    """Whether questions could come from there: one of `WORLDS`, "hub", a folder, or a hub id.

    Of a hub id no more than its form is known.
    """
    return source in (*WORLDS, "hub") or Path(source).is_dir() or bool(_HUB_ID.fullmatch(source))


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
class Samples(Sequence):
    """Samples of a benchmark, made when asked for: images are not kept in memory.

    `build` turns a row, as the benchmark's authors publish it, and its number into a sample.
    """

    table: Rows | datasets.Dataset | Sequence[dict]
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
    `pictures`; an alternative in `columns` is parted by "|".  Every row has text in the columns
    `texts`, text or a whole number in `names`, and text or nothing in `options`.
    """

    key: str
    hub: str
    splits: Mapping[str, str | None]
    columns: Sequence[str]
    texts: Sequence[str]
    names: Sequence[str] = ()
    options: Sequence[str] = ()
    pictures: Sequence[str] = ("image",)
    configurations: Mapping[str, str] = field(default_factory=dict)

    @property
    def default_split(self) -> str:
        """The one that is meant where none is named."""
        return next(iter(self.splits))

    def samples(
        self, build: Callable[[dict, int], Sample], source: str | Path, split: str | None
    ) -> Samples:
        """All rows as samples, which `build` makes; `source` and what is raised as in `read`."""
        table = self.read(source, split)
        return Samples(table, build, range(len(table)))

    def read(self, source: str | Path, split: str | None) -> Rows | datasets.Dataset:
        """Rows of an embedded set (one of `WORLDS`), of its own repository ("hub"), of a folder
        with SPLIT.parquet or SPLIT-*.parquet, or of another repository by its id.

        Raises:
            ValueError: an unknown split, missing columns, no rows, a value of the wrong kind.
            FileNotFoundError: no such folder, or one without such a split.
        """
        split = split or self.default_split
        if split not in self.splits:
            raise ValueError(f"split: expected one of {list(self.splits)}, got {split!r}")
        if source in WORLDS:
            source = data_folder() / source / self.key
        if source != "hub" and Path(source).is_dir():
            table = self._from_folder(Path(source), split)
        else:
            table = self._from_hub(self.hub if source == "hub" else source, split)
        self._check_columns(table, source)
        for columns, right, expected in (
            (self.texts, is_text, "text"),
            (self.names, is_name, "text or a whole number"),
            (self.options, is_option, "text or none"),
        ):
            check_values(table, columns, right, expected)
        return table

    def _from_folder(self, folder: Path, split: str) -> Rows:
        known = filter(None, [self.splits[split], *self.configurations.values()])
        files = files_of(folder, split, tuple(known))
        rows = Rows(folder, files, self.pictures)
        if not len(rows):
            raise ValueError(f"source: expected at least one row in {list(map(str, files))}")
        return rows

    def _from_hub(self, source: str | Path, split: str) -> datasets.Dataset:
        if isinstance(source, Path) or not _HUB_ID.fullmatch(source):
            raise FileNotFoundError(
                f"source: expected 'digits', 'pictures', 'hub', a folder that exists or a hub id "
                f"such as {self.hub!r}, got {str(source)!r}"
            )
        configuration = self.configurations.get(source, self.splits[split])
        table = datasets.load_dataset(source, configuration, split=split)
        for column in set(self.pictures) & set(table.column_names):
            if isinstance(table.features[column], datasets.Image):
                table = table.cast_column(column, datasets.Image(decode=False))
        return table

    def _check_columns(self, table: Rows | datasets.Dataset, source: str | Path) -> None:
        present = set(table.column_names)
        missing = [c for c in self.columns if not present & set(c.split("|"))]
        if missing:
            raise ValueError(
                f"source: expected columns {list(self.columns)}, {missing} missing from "
                f"{str(source)!r}, got {table.column_names}"
            )


def picture(row: dict, index: int, column: str = "image") -> Image.Image:
    """A row's picture, decoded; text in its place is the address to fetch it from.

    Raises ValueError that names row and column if there is none or it cannot be decoded.
    """
    value = row[column]
    try:
        # Without its path: what a row names must never open a file here.
        value = {"bytes": fetched(value) if isinstance(value, str) else (value or {}).get("bytes")}
        return rgb(datasets.Image().decode_example({"path": None} | value))
    except _UNREADABLE as error:
        raise ValueError(f"row {index}, column {column!r}: cannot be decoded: {error}") from error


def picture_name(row: dict, default: str, column: str = "image") -> str:
    """The name that the picture was published under; `default` where there is none."""
    value = row.get(column)
    path = value if isinstance(value, str) else (value or {}).get("path")
    return Path(path).stem if path else default
