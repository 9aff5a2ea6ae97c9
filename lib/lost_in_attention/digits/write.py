"""Write the embedded benchmarks: annotations as JSON, questions and images as Parquet."""

import io
import json
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lost_in_attention.digits.coco import instances
from lost_in_attention.digits.mmmu import IMAGES
from lost_in_attention.digits.scenes import Scene, make_scenes
from lost_in_attention.digits.sets import PER_POPE_SCENE, SETS, Row
from lost_in_attention.runs.files import replaced_when_complete
from lost_in_attention.runs.paths import check_writable

_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def write(output: Path, *, images: int = 500, questions: int = 1000, seed: int = 0) -> list[Path]:
    """Write the seven sets under `output`, and the annotations of POPE's scenes.

    POPE has `images` scenes of 18 questions, every other set at least `questions` questions.
    The same arguments give the same bytes.  Files appear only once all are complete.  Returns
    their paths.
    Raises ValueError if fewer than one image or question is asked for, `seed` is negative, or
    `output` cannot be written.
    """
    for name, value, least in (
        ("images", images, 1),
        ("questions", questions, 1),
        ("seed", seed, 0),
    ):
        if value < least:
            raise ValueError(f"{name}: expected at least {least}, got {value}")
    check_writable("output", Path(output))
    annotations = Path(output) / "annotations" / "instances_heldout.json"
    files = {name: Path(output) / name / f"{part.split}.parquet" for name, part in SETS.items()}
    with ExitStack() as complete:
        scenes = list(make_scenes(images, split="heldout", seed=seed))
        path = complete.enter_context(replaced_when_complete(annotations))
        path.write_text(json.dumps(instances(scenes), separators=(",", ":")) + "\n")
        for name, file in files.items():
            count = images * PER_POPE_SCENE if name == "pope" else questions
            path = complete.enter_context(replaced_when_complete(file))
            _write_parquet(name, SETS[name].rows(count, seed), path)
    return [annotations, *files.values()]


def _write_parquet(name: str, rows: list[Row], path: Path) -> None:
    """Each image is stored once: equal pictures share a place in the column's dictionary."""
    pictures = _Pictures("heldout" if name == "pope" else name)
    columns = {}
    for column in rows[0]:
        values = [row[column] for row in rows]
        if any(isinstance(value, Scene) for value in values):
            columns[column] = pa.array([pictures.of(value) for value in values], _IMAGE)
        elif column in IMAGES:
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

    def __init__(self, name: str) -> None:
        self.name = name
        self.made: dict[int, dict] = {}

    def of(self, scene: Scene) -> dict:
        if id(scene) not in self.made:
            buffer = io.BytesIO()
            scene.image.save(buffer, format="PNG", optimize=True)
            path = f"digits_{self.name}_{len(self.made):06d}.png"
            self.made[id(scene)] = {"bytes": buffer.getvalue(), "path": path}
        return self.made[id(scene)]
