"""Write a world's sets: annotations as JSON, questions and images as Parquet."""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lost_in_attention.benchmarks import (
    hallusionbench,
    mathvista,
    mmmu,
    pope,
    realworldqa,
    threedsrbench,
    vmcbench,
)
from lost_in_attention.runs.files import replaced_when_complete
from lost_in_attention.runs.paths import check_writable
from lost_in_attention.worlds.existence import PER_SCENE
from lost_in_attention.worlds.scenery import Painted
from lost_in_attention.worlds.schemas import Row

# The split that a set of a benchmark's form is written as.
SPLITS = {
    each.PUBLISHED.key: each.PUBLISHED.default_split
    for each in (hallusionbench, mathvista, mmmu, pope, realworldqa, threedsrbench, vmcbench)
}
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def check_request(output: Path, *, images: int, questions: int, seed: int) -> None:
    """Raises ValueError if too little is asked for, or `output` cannot be written."""
    for name, value, least in (
        ("images", images, 1),
        ("questions", questions, 1),
        ("seed", seed, 0),
    ):
        if value < least:
            raise ValueError(f"{name}: expected at least {least}, got {value}")
    check_writable("output", Path(output))


def write_sets(
    output: Path,
    annotations: tuple[str, Mapping],
    sets: Mapping[str, Callable[[int], list[Row]]],
    prefixes: Sequence[str],
    *,
    images: int,
    questions: int,
) -> list[Path]:
    """Write annotations, under their name, and question sets, all or none.  Returns their paths.

    `sets` makes as many rows as it is told for each benchmark: POPE's on `images` scenes, of the
    others at least `questions`.  The pictures of a set are named by its prefix and a number.
    """
    title, stored = annotations
    path = Path(output) / "annotations" / f"{title}.json"
    rows = {
        Path(output) / name / f"{SPLITS[name]}.parquet": make(
            images * PER_SCENE if name == "pope" else questions
        )
        for name, make in sets.items()
    }
    with ExitStack() as complete:
        part = complete.enter_context(replaced_when_complete(path))
        part.write_text(json.dumps(stored, separators=(",", ":")) + "\n")
        for (file, made), prefix in zip(rows.items(), prefixes, strict=True):
            write_parquet(prefix, made, complete.enter_context(replaced_when_complete(file)))
    return [path, *rows]


def write_parquet(prefix: str, rows: Sequence[Row], path: Path) -> None:
    """Each image is stored once: equal pictures share a place in the column's dictionary."""
    pictures = _Pictures(prefix)
    columns = {}
    for column in rows[0]:
        values = [row[column] for row in rows]
        if any(isinstance(value, Painted) for value in values):
            columns[column] = pa.array([pictures.of(value) for value in values], _IMAGE)
        elif column in mmmu.IMAGES:
            columns[column] = pa.array(values, _IMAGE)
        else:
            columns[column] = pa.array(values)
    pq.write_table(
        pa.table(columns),
        path,
        compression="zstd",
        dictionary_pagesize_limit=1 << 28,
        row_group_size=1 << 20,
    )


class _Pictures:
    """Scenes as PNG, each under a name that tells it from the set's other pictures."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.made: dict[int, dict] = {}

    def of(self, scene: Painted) -> dict:
        if id(scene) not in self.made:
            buffer = io.BytesIO()
            scene.image.save(buffer, format="PNG", optimize=True)
            path = f"{self.prefix}_{len(self.made):06d}.png"
            self.made[id(scene)] = {"bytes": buffer.getvalue(), "path": path}
        return self.made[id(scene)]
