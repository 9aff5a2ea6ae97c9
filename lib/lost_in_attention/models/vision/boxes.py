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
from transformers.image_processing_utils import select_best_resolution

from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.models.vision.tiles import (
    Inputs,
    covered_share,
    grid_sizes,
    has_tiles,
    pack,
    stands_alone,
    tile_counts,
)

# x, y, width, height in pixels of the original image, as in COCO.
Box = tuple[float, float, float, float]
Frame = tuple[float, float, float, float]
# Pixels: how far mixing equal corners may move them.
_ROUNDING = 1e-6


def patch_boxes(
    vlm: VisionLanguageModel, inputs: Inputs, images: Sequence[Image.Image]
) -> list[list[Box | None]]:
    """The box of each visual token, an entry for each image; None for newline tokens.

    `images` are those that `inputs` was prepared from, in order: only they know their sizes.
    Where a token covers padding its box is cut at the image's border.  Where the model shrinks
    its grid of features (OneVision, large images) a token mixes neighbouring patches, and its box
    goes around all of them.

    Raises ValueError if there are not as many images as in `inputs`.
    """
    counts = tile_counts(vlm, inputs)
    if len(counts) != len(images):
        raise ValueError(f"images: expected the inputs' {len(counts)} images, got {len(images)}")
    share = covered_share(vlm)
    cells = [
        torch.stack(
            [_cells(frame, share, *grid) for frame in _frames(vlm, inputs, index, image.size)]
        )
        for index, (image, grid) in enumerate(zip(images, grid_sizes(vlm, inputs), strict=True))
    ]
    packed = map(_whole_patches, pack(vlm, inputs, cells), cells)
    return [_inside(each, image.size) for each, image in zip(packed, images, strict=True)]


def _frames(
    vlm: VisionLanguageModel, inputs: Inputs, index: int, size: tuple[int, int]
) -> list[Frame]:
    """The frame of each tile of an image of `size` (width, height)."""
    width, height = size
    whole = (0.0, 0.0, float(width), float(height))
    if "image_grid_thw" in inputs:
        return [whole]
    if not has_tiles(vlm):
        padded = getattr(vlm.processor.image_processor, "do_pad", False)
        return [_padded_to_square(width, height) if padded else _cropped(vlm, width, height)]
    if not stands_alone(inputs)[index]:
        return [_padded_to_square(width, height)]
    return [whole, *_parts(vlm, width, height)]


def _padded_to_square(width: int, height: int) -> Frame:
    side = max(width, height)
    left, top = -((side - width) // 2), -((side - height) // 2)
    return left, top, left + side, top + side


def _cropped(vlm: VisionLanguageModel, width: int, height: int) -> Frame:
    """LLaVA-1.5: the shorter edge is resized, the middle is cut out."""
    processor = vlm.processor.image_processor
    edge, crop = processor.size["shortest_edge"], processor.crop_size
    short = min(width, height)
    wide, high = int(edge * width / short), int(edge * height / short)
    left, top = (wide - crop["width"]) // 2, (high - crop["height"]) // 2
    x, y = width / wide, height / high
    return left * x, top * y, (left + crop["width"]) * x, (top + crop["height"]) * y


def _parts(vlm: VisionLanguageModel, width: int, height: int) -> list[Frame]:
    """Anyres: the image is fitted into the best canvas, padded, and cut into parts row by row."""
    config = vlm.model.config
    side = config.vision_config.image_size
    high, wide = select_best_resolution((height, width), config.image_grid_pinpoints)
    scale = min(wide / width, high / height)
    new_width = min(math.ceil(width * scale), wide)
    new_height = min(math.ceil(height * scale), high)
    left, top = (wide - new_width) // 2, (high - new_height) // 2
    x, y = width / new_width, height / new_height
    return [
        ((column - left) * x, (row - top) * y, (column + side - left) * x, (row + side - top) * y)
        for row in range(0, high, side)
        for column in range(0, wide, side)
    ]


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


def _whole_patches(
    corners: Float[Tensor, "tokens 4"], cells: Float[Tensor, "tiles patches 4"]
) -> Float[Tensor, "tokens 4"]:
    """Corners that lie between those of two patches, moved out so that both are inside.

    Only the parts' tokens can be mixed; they follow those of the whole image.
    """
    if len(cells) == 1:
        return corners
    moved = corners.clone()
    for side in range(4):
        edges = cells[1:, :, side].flatten().unique()
        own = moved[cells.shape[1] :, side]
        if side < 2:
            place = torch.searchsorted(edges, own + _ROUNDING, right=True) - 1
        else:
            place = torch.searchsorted(edges, own - _ROUNDING)
        own[:] = torch.where(own.isnan(), own, edges[place.clamp(0, len(edges) - 1)])
    return moved


def _inside(corners: Float[Tensor, "tokens 4"], size: tuple[int, int]) -> list[Box | None]:
    limit = torch.tensor([*size, *size], dtype=corners.dtype)
    corners = corners.clamp(min=torch.zeros_like(limit), max=limit)
    return [
        None if math.isnan(left) else (left, top, right - left, bottom - top)
        for left, top, right, bottom in corners.tolist()
    ]
