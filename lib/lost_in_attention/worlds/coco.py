"""Annotations in COCO's instances format, so that COCO tools read them unchanged."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lost_in_attention.worlds.scenery import Thing


class Annotated(NamedTuple):
    """A thing, the number of its category and what else is to be told of it."""

    thing: Thing
    category: int
    more: Mapping


def instances(
    description: str,
    licenses: Sequence[str],
    size: int,
    images: Sequence[Mapping],
    things: Sequence[Sequence[Annotated]],
    categories: Sequence[tuple[str, str]],
) -> dict:
    """COCO instances of square images of `size` pixels; licences and categories count from 1.

    `images` holds each image's file_name and more, `things` what stands in it, `categories` name
    and supercategory.
    """
    return {
        "info": {"description": description, "version": "1"},
        "licenses": [{"id": number, "name": name} for number, name in enumerate(licenses, 1)],
        "images": [
            {"id": index, "file_name": image["file_name"], "width": size, "height": size} | image
            for index, image in enumerate(images)
        ],
        "annotations": [
            {
                "id": annotation,
                "image_id": image,
                "category_id": each.category,
                "bbox": list(each.thing.box),
                "area": each.thing.box[2] * each.thing.box[3],
                "iscrowd": 0,
                "segmentation": [],
                **each.more,
            }
            for annotation, (image, each) in enumerate(
                (image, each) for image, inside in enumerate(things) for each in inside
            )
        ],
        "categories": [
            {"id": number, "name": name, "supercategory": above}
            for number, (name, above) in enumerate(categories, 1)
        ],
    }
