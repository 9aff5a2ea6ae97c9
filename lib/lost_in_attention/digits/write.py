"""Write the embedded benchmark: annotations as JSON, questions and images as Parquet."""

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from lost_in_attention.digits.coco import image_source, instances
from lost_in_attention.digits.pope import existence_questions
from lost_in_attention.digits.scenes import make_scenes
from lost_in_attention.files import replaced_when_complete

_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def write(output: Path, *, images: int = 500, seed: int = 0) -> list[Path]:
    """Write the held-out scenes under `output`: annotations and POPE questions.

    The same `images` and `seed` give the same bytes.  Returns the files written.
    Raises ValueError if fewer than one image is asked for.
    """
    if images < 1:
        raise ValueError(f"images: expected at least 1, got {images}")
    scenes = list(make_scenes(images, split="heldout", seed=seed))
    annotations = Path(output) / "annotations" / "instances_heldout.json"
    with replaced_when_complete(annotations) as path:
        path.write_text(json.dumps(instances(scenes), separators=(",", ":")) + "\n")
    encoded = {image_source(index): _png(scene.image) for index, scene in enumerate(scenes)}
    questions = existence_questions(scenes, seed=seed)
    pope = Path(output) / "pope" / "test.parquet"
    with replaced_when_complete(pope) as path:
        _write_parquet(questions, encoded, path)
    return [annotations, pope]


def _write_parquet(questions, encoded: dict[str, bytes], path: Path) -> None:
    """Questions beside their images; each image is stored once, through the dictionary."""
    table = pa.Table.from_pandas(questions, preserve_index=False)
    images = [{"bytes": encoded[name], "path": f"{name}.png"} for name in questions["image_source"]]
    table = table.append_column("image", pa.array(images, _IMAGE))
    pq.write_table(
        table, path, compression="zstd", dictionary_pagesize_limit=1 << 28, row_group_size=1 << 20
    )


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
