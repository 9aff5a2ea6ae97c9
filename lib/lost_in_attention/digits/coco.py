"""Annotations in COCO's instances format, so that COCO tools read them unchanged."""

import json
from collections.abc import Sequence
from functools import lru_cache

from lost_in_attention.digits.scenes import DIGIT_NAMES, IMAGE_SIZE, Scene
from lost_in_attention.runs.paths import data_folder


def image_source(index: int) -> str:
    """The name that joins a question to its image's annotations."""
    return f"digits_heldout_{index:06d}"


def instances(scenes: Sequence[Scene]) -> dict:
    """COCO instances: images, annotations (bbox in pixels, colour) and categories.

    Category ids are digit + 1, since COCO counts from 1.  `sklearn_index` names the
    handwritten image that was drawn.
    """
    return {
        "info": {"description": "Scenes of handwritten digits", "version": "1"},
        "licenses": [{"id": 1, "name": "CC BY 4.0"}],
        "images": [
            {
                "id": index,
                "file_name": f"{image_source(index)}.png",
                "width": IMAGE_SIZE,
                "height": IMAGE_SIZE,
                "license": 1,
                "ground": scene.ground,
            }
            for index, scene in enumerate(scenes)
        ],
        "annotations": [
            {
                "id": annotation,
                "image_id": image,
                "category_id": digit.digit + 1,
                "bbox": list(digit.box),
                "area": digit.box[2] * digit.box[3],
                "iscrowd": 0,
                "segmentation": [],
                "colour": digit.colour,
                "sklearn_index": digit.source,
            }
            for annotation, (image, digit) in enumerate(
                (image, digit) for image, scene in enumerate(scenes) for digit in scene.digits
            )
        ],
        "categories": [
            {"id": value + 1, "name": name, "supercategory": "digit"}
            for value, name in enumerate(DIGIT_NAMES)
        ],
    }


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
