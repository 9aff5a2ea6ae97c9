"""The part of the original image that each visual token stands for.

A tile covers a frame of the original image, given by its left, top, right and bottom edge in the
image's pixels; padding lies outside the image.  The patches divide the frame evenly, but for a
strip at its right and lower edge where the tile's side is no multiple of theirs: 27 patches of 14
pixels leave 6 of OneVision's 384 unseen.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from lost_in_attention.models.families import Inputs
from lost_in_attention.models.families.base import Frame
from lost_in_attention.models.vlm import VisionLanguageModel

# x, y, width, height in pixels of the original image, as in COCO.
Box = tuple[float, float, float, float]


def patch_boxes(
    vlm: VisionLanguageModel, inputs: Inputs, images: Sequence[Image.Image]
) -> list[list[Box | None]]:
    """The box of each visual token, an entry for each image; None for newline tokens.

    `images` are those that `inputs` was prepared from, in order: only they know their sizes.
    Where a token covers padding its box is cut at the image's border; where it mixes patches its
    box goes around all of them.

    Raises ValueError if there are not as many images as in `inputs`.
    """
    family, sizes = vlm.family, [image.size for image in images]
    counts = family.tile_counts(inputs)
    if len(counts) != len(images):
        raise ValueError(f"images: expected the inputs' {len(counts)} images, got {len(images)}")
    cells = [
        torch.stack([_cells(frame, family.covered_share, *grid) for frame in frames])
        for frames, grid in zip(family.frames(inputs, sizes), family.grids(inputs), strict=True)
    ]
    corners = family.corners(inputs, cells)
    return [_inside(each, size) for each, size in zip(corners, sizes, strict=True)]


def _cells(
    frame: Frame, share: float, rows: int, columns: int
) -> Float[Tensor, "{rows}*{columns} 4"]:
    """Left, top, right and bottom of each patch of a tile, row by row.

    The patches cover a `share` of each side of the frame, from its upper left corner.
    """
    left, top, right, bottom = frame
    x = torch.linspace(left, left + share * (right - left), columns + 1, dtype=torch.float64)
    y = torch.linspace(top, top + share * (bottom - top), rows + 1, dtype=torch.float64)
    tops, lefts = torch.meshgrid(y[:-1], x[:-1], indexing="ij")
    bottoms, rights = torch.meshgrid(y[1:], x[1:], indexing="ij")
    return torch.stack([lefts, tops, rights, bottoms], -1).flatten(0, 1)


def _inside(corners: Float[Tensor, "tokens 4"], size: tuple[int, int]) -> list[Box | None]:
    limit = torch.tensor([*size, *size], dtype=corners.dtype)
    corners = corners.clamp(min=torch.zeros_like(limit), max=limit)
    return [
        None if math.isnan(left) else (left, top, right - left, bottom - top)
        for left, top, right, bottom in corners.tolist()
    ]
