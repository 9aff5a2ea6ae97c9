"""Where the asked objects lie: boxes from annotations in COCO's instances format."""

import hashlib
import json
import math
import re
from collections import defaultdict
from functools import cached_property
from pathlib import Path
from typing import Any

from lost_in_attention.benchmarks.base import WORLDS
from lost_in_attention.models.patch_boxes import Box
from lost_in_attention.runs.numbers import check_whole
from lost_in_attention.runs.paths import data_folder

# Some published questions write "imange".
_QUESTION = re.compile(r"Is there (?:an?|some) (.+) in the im(?:a|an)ge\?")


def asked_object(question: str) -> str:
    """The object that a POPE question asks for ("Is there a dog in the image?" -> "dog").

    Raises ValueError if the question is not of that form.
    """
    found = _QUESTION.match(question)
    if not found:
        raise ValueError(f"question: expected 'Is there a ... in the image?', got {question!r}")
    return found.group(1)


class Annotations:
    """Objects of many images, found by the image's name without its suffix."""

    def __init__(self, instances: dict[str, Any]) -> None:
        self._images = {Path(i["file_name"]).stem: i for i in instances["images"]}
        self._categories = {c["name"]: c["id"] for c in instances["categories"]}
        self._objects = defaultdict(list)
        for found in instances["annotations"]:
            self._objects[found["image_id"], found["category_id"]].append(tuple(found["bbox"]))

    @classmethod
    def read(cls, source: str | Path) -> "Annotations":
        """Those of a file such as COCO's instances_val2014.json, for the published POPE.

        "digits" and "pictures" stand for those of the embedded scenes.

        Raises ValueError where there is no such file, or where it does not hold COCO's instances,
        each box four finite numbers.
        """
        if source in WORLDS:
            source = data_folder() / source / "annotations" / "instances_heldout.json"
        try:
            instances = json.loads(Path(source).read_text())
            if missing := sorted({"images", "annotations", "categories"} - instances.keys()):
                raise ValueError(f"{missing} missing")
            found = cls(instances)
            found._check()
        except (OSError, AttributeError, LookupError, TypeError, ValueError) as error:
            said = f"{type(error).__name__}: {error}"
            raise ValueError(
                f"annotations: expected a file of COCO's instances, got {str(source)!r} ({said})"
            ) from error
        return found

    @cached_property
    def digest(self) -> str:
        """A hash of all images, categories and boxes: what other annotations do not share."""
        objects = sorted((*key, boxes) for key, boxes in self._objects.items())
        content = json.dumps([self._images, self._categories, objects], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def size(self, image: str) -> tuple[int, int]:
        """Width and height of an image in pixels.  Raises ValueError if it is not annotated."""
        return self._image(image)["width"], self._image(image)["height"]

    def boxes(self, image: str, name: str) -> list[Box]:
        """The boxes of all objects of that name in an image, crowds included; none if absent.

        x, y of the upper left corner, width and height, in pixels of the original image.

        Raises ValueError if the image is not annotated or no category has that name.
        """
        if name not in self._categories:
            known = sorted(self._categories)
            raise ValueError(f"name: expected one of {known}, got {name!r}")
        return list(self._objects.get((self._image(image)["id"], self._categories[name]), ()))

    def _check(self) -> None:
        """Raises an error of any kind unless images have sizes and boxes are four numbers."""
        for image in self._images.values():
            check_whole("width", image["width"], least=1)
            check_whole("height", image["height"], least=1)
        for boxes in self._objects.values():
            for box in boxes:
                if len(box) != 4 or not all(map(math.isfinite, box)) or min(box[2:]) < 0:
                    raise ValueError(f"bbox {box}")

    def _image(self, name: str) -> dict:
        if name not in self._images:
            raise ValueError(f"image: expected one that is annotated, got {name!r}")
        return self._images[name]
