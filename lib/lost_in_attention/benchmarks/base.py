"""What all benchmarks share: a sample, and a lazy sequence of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import overload

import datasets
import numpy as np
from PIL import Image


@dataclass(frozen=True)
class Sample:
    """One question. `prompt` is what the model reads, `answer` the gold, `group` the part
    of the benchmark that it is scored in, `image_source` the image's name."""

    id: str
    image: Image.Image
    question: str
    prompt: str
    answer: str
    group: str
    image_source: str

    def blanked(self) -> "Sample":
        """The same question on an image of one grey: what can be answered without seeing."""
        return replace(self, image=Image.new("RGB", self.image.size, (128, 128, 128)))


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
        try:
            sample = self.build(self.table[row], row)
        except OSError as error:
            raise ValueError(f"row {row}, column 'image': cannot be decoded: {error}") from error
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


def read_rows(source: str | Path, *, split: str, columns: Sequence[str]) -> datasets.Dataset:
    """Rows from a folder with SPLIT*.parquet, or from a hub id.

    Raises FileNotFoundError where the folder has no such split, ValueError where
    columns are missing or there is no row.
    """
    folder = Path(source)
    if folder.is_dir():
        files = sorted(str(path) for path in folder.glob(f"**/{split}*.parquet"))
        if not files:
            present = sorted(path.name for path in folder.glob("**/*.parquet"))
            raise FileNotFoundError(
                f"split: expected files named {split}*.parquet in {folder}, got {present}"
            )
        table = datasets.Dataset.from_parquet(files, keep_in_memory=False)
    else:
        table = datasets.load_dataset(str(source), split=split)
    missing = [column for column in columns if column not in table.column_names]
    if missing:
        raise ValueError(
            f"source: expected columns {list(columns)}, {missing} missing from {str(source)!r}, "
            f"got {table.column_names}"
        )
    if len(table) == 0:
        raise ValueError(f"source: expected at least one row in {str(source)!r}, got none")
    return table.cast_column("image", datasets.Image())
