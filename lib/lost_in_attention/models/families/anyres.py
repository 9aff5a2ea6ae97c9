"""Anyres, the tiles of LLaVA-NeXT and LLaVA-OneVision.

The whole image comes first and then its parts: it is fitted into the best of several canvases,
padded, and cut row by row.  The padding is cut off the parts' features and each row ends with a
newline token.
"""

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers.image_processing_utils import select_best_resolution
from transformers.models.llava_next.modeling_llava_next import image_size_to_num_patches

from lost_in_attention.models.families.base import Frame, Inputs, TileValues
from lost_in_attention.models.families.llava import Llava, padded_to_square

# Pixels: how far mixing equal corners may move them.
_ROUNDING = 1e-6


class AnyRes(Llava):
    """LLaVA's tower, shown an image in tiles."""

    @property
    @abstractmethod
    def packing(self) -> dict[str, Any]:
        """What `pack_image_features` of the model takes beside features, sizes and newline."""

    def cuts(self, inputs: Inputs) -> list[bool]:
        """Whether an image is cut into parts."""
        return [True] * len(inputs["image_sizes"])

    def tile_counts(self, inputs: Inputs) -> list[int]:
        config = self.model.config
        return [
            image_size_to_num_patches(
                size, config.image_grid_pinpoints, config.vision_config.image_size
            )
            if cut
            else 1
            for size, cut in zip(inputs["image_sizes"], self.cuts(inputs), strict=True)
        ]

    def pack(
        self, inputs: Inputs, tiles: Sequence[TileValues]
    ) -> list[Float[Tensor, "_ features"]]:
        newline = torch.full_like(tiles[0][0, 0], torch.nan)
        packed, _ = self.model.model.pack_image_features(
            list(tiles), inputs["image_sizes"], image_newline=newline, **self.packing
        )
        return packed

    def frames(self, inputs: Inputs, sizes: Sequence[tuple[int, int]]) -> list[list[Frame]]:
        return [
            [(0.0, 0.0, float(width), float(height)), *self._parts(width, height)]
            if cut
            else [padded_to_square(width, height)]
            for cut, (width, height) in zip(self.cuts(inputs), sizes, strict=True)
        ]

    def corners(
        self, inputs: Inputs, cells: Sequence[Float[Tensor, "_ _ 4"]]
    ) -> list[Float[Tensor, "_ 4"]]:
        """Where the model shrinks its grid of features (OneVision, large images) a token mixes
        neighbouring patches, and its corners go around all of them."""
        return [
            _whole_patches(corners, own)
            for corners, own in zip(self.pack(inputs, cells), cells, strict=True)
        ]

    def _parts(self, width: int, height: int) -> list[Frame]:
        config = self.model.config
        side = config.vision_config.image_size
        high, wide = select_best_resolution((height, width), config.image_grid_pinpoints)
        scale = min(wide / width, high / height)
        new_width = min(math.ceil(width * scale), wide)
        new_height = min(math.ceil(height * scale), high)
        left, top = (wide - new_width) // 2, (high - new_height) // 2
        x, y = width / new_width, height / new_height
        return [
            (
                (column - left) * x,
                (row - top) * y,
                (column + side - left) * x,
                (row + side - top) * y,
            )
            for row in range(0, high, side)
            for column in range(0, wide, side)
        ]


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
