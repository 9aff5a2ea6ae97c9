"""What every experiment asks of a family: its processor, images, tower and published layers.

A tile is what the vision tower sees at once, a grid of patches; a visual token stands for m x m of
them.  The answers of this class are those of a tower that sees an image as one square tile of a
fixed size; a family says what differs.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor, nn
from transformers import BatchFeature, PreTrainedModel
from transformers.processing_utils import ProcessorMixin

# What the processor says of a batch's images: pixel_values, image_grid_thw, image_sizes, ...
Inputs = Mapping[str, Any]
# Images of one batch differ in their number of tiles, and Qwen's in that of patches.
TileValues = Float[Tensor, "_ _ features"]
# Left, top, right and bottom edge of a tile in pixels of the original image; padding lies outside.
Frame = tuple[float, float, float, float]
# The first and the last layer, both included.
Layers = tuple[int, int]


@dataclass(frozen=True)
class Published:
    """Where attention is replaced in a family: of a decoder of `depth` layers.

    `layers` and `heads`, a band of percentiles, are the paper's setting (Table 2, the default rows
    of Tables 4 to 8); `ranges` those of Tables 6 and 7.  `ranking` and `value_scale` are how the
    authors' code ranks the family's heads and scales a prior's values.
    """

    depth: int
    layers: Layers
    heads: tuple[float, float]
    ranges: tuple[Layers, ...]
    ranking: str = "scores"
    value_scale: str = "matched"


@dataclass(frozen=True)
class Family(ABC):
    """A model and its processor, asked for what is special to their family.

    `key` is the family's name in this project, `model_types` what its configurations call it.
    """

    model: PreTrainedModel
    processor: ProcessorMixin

    key: ClassVar[str]
    model_types: ClassVar[tuple[str, ...]]
    published: ClassVar[Published]

    @classmethod
    def processor_class(cls, model_type: str) -> type[ProcessorMixin] | None:
        """The processor to load; None where the stock one does."""
        return None

    # --- The tower

    @property
    def tower(self) -> nn.Module:
        """The vision tower."""
        return self.model.model.vision_tower

    @property
    def last_attention(self) -> nn.Module:
        """The attention module of the tower's last layer."""
        return self.tower.encoder.layers[-1].self_attn

    @property
    def last_map_is_whole(self) -> bool:
        """Whether the tower's last layer attends to the whole tile."""
        return True

    @property
    def merge(self) -> int:
        """m: a visual token stands for m x m patches."""
        return 1

    def among_patches(
        self, attention: Float[Tensor, "tiles queries keys"]
    ) -> Float[Tensor, "tiles patches patches"]:
        """A map of the tower without what is no patch; patches of one token behind each other."""
        return attention

    def in_decoder_order(
        self, inputs: Inputs, received: Sequence[Float[Tensor, "_ _"]]
    ) -> list[Float[Tensor, " _"]]:
        """What the tokens received in each pass of the tower, as `pack` orders them, by image."""
        tiles = torch.cat(list(received))[..., None].split(self.tile_counts(inputs))
        return [values[:, 0] for values in self.pack(inputs, tiles)]

    # --- Images

    def pixels(self, images: Sequence[Image.Image]) -> BatchFeature:
        """What the image processor makes of RGB images, each of a prompt of its own."""
        return self.processor.image_processor(list(images), return_tensors="pt")

    @abstractmethod
    def tile_counts(self, inputs: Inputs) -> list[int]:
        """Number of tiles of each image."""

    @abstractmethod
    def frames(self, inputs: Inputs, sizes: Sequence[tuple[int, int]]) -> list[list[Frame]]:
        """The frame of each tile, an entry for each image; `sizes` are their widths and heights."""

    def grids(self, inputs: Inputs) -> list[tuple[int, int]]:
        """Rows and columns of visual tokens in a tile of each image, newlines not counted."""
        vision = self.model.config.vision_config
        side = vision.image_size // vision.patch_size // self.merge
        return [(side, side)] * len(self.tile_counts(inputs))

    @property
    def covered_share(self) -> float:
        """How much of a tile's side its patches cover; what is left over at its end is not seen."""
        vision = self.model.config.vision_config
        size = vision.image_size
        return size // vision.patch_size * vision.patch_size / size

    def token_pixels(self, inputs: Inputs) -> list[Float[Tensor, "_ _ 3 height width"]]:
        """The pixels behind each visual token before packing, in [0, 1], by image."""
        pixels, counts = inputs["pixel_values"].float(), self.tile_counts(inputs)
        if pixels.dim() == 4:
            pixels = pixels[:, None]
        size = self.model.config.vision_config.patch_size * self.merge
        return [
            squares(self.unnormalised(tiles[:count]), size)
            for tiles, count in zip(pixels, counts, strict=True)
        ]

    def unnormalised(
        self, pixels: Float[Tensor, "images 3 height width"]
    ) -> Float[Tensor, "images 3 height width"]:
        """The tower's pixels back in [0, 1]."""
        processor = self.processor.image_processor
        if not processor.do_normalize:
            return pixels
        mean, std = (
            torch.tensor(values, device=pixels.device).view(1, 3, 1, 1)
            for values in (processor.image_mean, processor.image_std)
        )
        return pixels * std + mean

    def pack(
        self, inputs: Inputs, tiles: Sequence[TileValues]
    ) -> list[Float[Tensor, "_ features"]]:
        """Values of tiles in the decoder's order of tokens, as the model packs its features.

        NaN for newline tokens, which carry no patch.
        """
        return [image.flatten(0, 1) for image in tiles]

    def corners(
        self, inputs: Inputs, cells: Sequence[Float[Tensor, "_ _ 4"]]
    ) -> list[Float[Tensor, "_ 4"]]:
        """Left, top, right and bottom of each token in the decoder's order, of those of patches."""
        return self.pack(inputs, cells)

    # --- The decoder

    def position_inputs(
        self, ids: Int[Tensor, "batch tokens"], grid: tuple[int, int]
    ) -> dict[str, Tensor]:
        """What gives tokens their positions where images come as features.

        Each prompt has one image of `grid` rows and columns of visual tokens.
        """
        return {}


def squares(
    tiles: Float[Tensor, "tiles 3 height width"], size: int
) -> Float[Tensor, "tiles squares 3 size size"]:
    """Tiles cut into squares, row by row."""
    rows = tiles.unfold(2, size, size).unfold(3, size, size)
    return rows.permute(0, 2, 3, 1, 4, 5).flatten(1, 2)
