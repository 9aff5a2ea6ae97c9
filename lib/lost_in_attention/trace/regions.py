"""The key region: the visual tokens whose patches show the asked object (Appendix E)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from lost_in_attention.benchmarks import Sample
from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.models.patch_boxes import Box, patch_boxes
from lost_in_attention.trace.annotations import Annotations, asked_object

# Pixels: less is an edge that two boxes share, as far as rounding lets them.
_TOUCH = 1e-6
# Published boxes pass the image's border by rounding, never by a pixel.
_MARGIN = 1.0

Region = Bool[np.ndarray, "visual_tokens"]


@dataclass(frozen=True)
class KeyRegions:
    """Key regions by sample; of the others, whose object is not seen, the reason.

    Reasons: "absent", the annotations have no such object in the image; "unseen", no patch
    shows it, as where the processor crops it away.
    """

    regions: Mapping[str, Region]
    excluded: Mapping[str, str]


def key_patches(
    patches: Sequence[Box | None], objects: Sequence[Box], size: tuple[float, float]
) -> Region:
    """K as a mask over the visual tokens: which patches share some area with a box.

    `patches` holds each visual token's box in pixels of the original image, None for tokens that
    stand for no patch (newlines); `objects` the boxes of the object; `size` the width and height
    of the original image.  A box that only touches a patch does not meet it.

    Raises ValueError for a box that is not finite, has a negative extent, or reaches more than
    one pixel beyond the image.
    """
    for box in objects:
        _check_box(box, size)
    return np.array(
        [patch is not None and any(_overlap(patch, box) for box in objects) for patch in patches],
        dtype=bool,
    )


def key_regions(
    vlm: VisionLanguageModel, samples: Sequence[Sample], annotations: Annotations
) -> KeyRegions:
    """The key regions of POPE samples among the model's visual tokens; it does not run.

    Raises ValueError for a question of another form, an image or an object that the annotations
    do not know, an image of another size than annotated, and what `key_patches` raises.
    """
    regions, excluded = {}, {}
    for sample in samples:
        _check_size(sample, annotations.size(sample.image_source))
        objects = annotations.boxes(sample.image_source, asked_object(sample.question))
        if not objects:
            excluded[sample.id] = "absent"
            continue
        inputs = vlm.prepare([sample.image], [sample.prompt])
        [patches] = patch_boxes(vlm, inputs, [sample.image])
        region = key_patches(patches, objects, sample.image.size)
        if region.any():
            regions[sample.id] = region
        else:
            excluded[sample.id] = "unseen"
    return KeyRegions(regions, excluded)


def _check_size(sample: Sample, annotated: tuple[int, int]) -> None:
    if sample.image.size != annotated:
        raise ValueError(
            f"samples: expected {sample.image_source!r} to be {annotated} as annotated, "
            f"got {sample.image.size}"
        )


def _check_box(box: Box, size: tuple[int, int]) -> None:
    x, y, width, height = box
    if not all(map(math.isfinite, box)) or width < 0 or height < 0:
        raise ValueError(f"objects: expected finite boxes of no negative extent, got {box}")
    inside = x >= -_MARGIN and y >= -_MARGIN
    if not inside or x + width > size[0] + _MARGIN or y + height > size[1] + _MARGIN:
        raise ValueError(
            f"objects: expected boxes within the image of {size[0]} x {size[1]} pixels, got {box}"
        )


def _overlap(one: Box, other: Box) -> bool:
    return all(
        min(one[axis] + one[axis + 2], other[axis] + other[axis + 2]) - max(one[axis], other[axis])
        > _TOUCH
        for axis in (0, 1)
    )
