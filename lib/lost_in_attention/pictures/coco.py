"""Annotations in COCO's instances format with the nouns as categories."""

from collections.abc import Sequence

from lost_in_attention.pictures.drawings import groups, licenses
from lost_in_attention.pictures.scenes import IMAGE_SIZE, Scene
from lost_in_attention.worlds import coco
from lost_in_attention.worlds.coco import Annotated


def image_source(split: str, index: int) -> str:
    """The name that joins a question to its image's annotations."""
    return f"pictures_{split}_{index:06d}"


def instances(scenes: Sequence[Scene], split: str) -> dict:
    """COCO instances; each annotation names the artist, each category its group."""
    numbers = {noun: number for number, noun in enumerate(groups(), 1)}
    return coco.instances(
        "Scenes of drawings by several artists",
        sorted(set(licenses().values())),
        IMAGE_SIZE,
        [
            {"file_name": f"{image_source(split, index)}.png", "ground": scene.ground}
            for index, scene in enumerate(scenes)
        ],
        [
            [Annotated(each, numbers[each.noun], {"artist": each.artist}) for each in s.pictures]
            for s in scenes
        ],
        list(groups().items()),
    )
