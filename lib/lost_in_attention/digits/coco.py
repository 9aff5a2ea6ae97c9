"""Annotations in COCO's instances format, so that COCO tools read them unchanged."""

import json
from collections.abc import Sequence
from functools import lru_cache

from lost_in_attention.digits.scenes import DIGIT_NAMES, IMAGE_SIZE, Scene
from lost_in_attention.runs.paths import data_folder
from lost_in_attention.worlds import coco
from lost_in_attention.worlds.coco import Annotated


def image_source(index: int) -> str:
    """The name that joins a question to its image's annotations."""
    return f"digits_heldout_{index:06d}"


def instances(scenes: Sequence[Scene]) -> dict:
    """COCO instances: images, annotations (bbox in pixels, colour) and categories.

    Category ids are digit + 1, since COCO counts from 1.  `sklearn_index` names the
    handwritten image that was drawn.
    """
    return coco.instances(
        "Scenes of handwritten digits",
        ["CC BY 4.0"],
        IMAGE_SIZE,
        [
            {"file_name": f"{image_source(index)}.png", "license": 1, "ground": scene.ground}
            for index, scene in enumerate(scenes)
        ],
        [
            [
                Annotated(d, d.digit + 1, {"colour": d.colour, "sklearn_index": d.source})
                for d in scene.digits
            ]
            for scene in scenes
        ],
        [(name, "digit") for name in DIGIT_NAMES],
    )


@lru_cache
def shipped_annotations() -> dict:
    """The annotations of the embedded benchmark."""
    path = data_folder() / "digits" / "annotations" / "instances_heldout.json"
    return json.loads(path.read_text())


def annotated_boxes(source: str) -> list[tuple[str, tuple[int, int, int, int]]]:
    """Name ("red seven") and box (x, y, width, height) of every digit of an embedded image.

    Raises ValueError if no embedded image has that name.
    """
    annotations = shipped_annotations()
    names = {category["id"]: category["name"] for category in annotations["categories"]}
    ids = [i["id"] for i in annotations["images"] if i["file_name"] == f"{source}.png"]
    if not ids:
        raise ValueError(f"source: expected the name of an embedded image, got {source!r}")
    return [
        (f"{a['colour']} {names[a['category_id']]}", tuple(a["bbox"]))
        for a in annotations["annotations"]
        if a["image_id"] == ids[0]
    ]
