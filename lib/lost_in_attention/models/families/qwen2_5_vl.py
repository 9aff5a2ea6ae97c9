"""Qwen2.5-VL: images of any size as one grid of patches, a tower that works in windows."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import Qwen2_5_VLProcessor
from transformers.processing_utils import ProcessorMixin
from transformers.utils import is_torchvision_available
from transformers.vision_utils import get_vision_window_index

from lost_in_attention.models.families.base import Family, Frame, Inputs, Published
from lost_in_attention.models.families.llava_onevision import RANGES


class VideolessQwen2_5_VLProcessor(Qwen2_5_VLProcessor):
    """Qwen2.5-VL's processor for images alone."""

    def __init__(self, image_processor=None, tokenizer=None, chat_template=None, **kwargs):
        super().__init__(image_processor, tokenizer, None, chat_template, **kwargs)

    @classmethod
    def get_attributes(cls) -> list[str]:
        return ["image_processor", "tokenizer"]


VideolessQwen2_5_VLProcessor.__name__ = "Qwen2_5_VLProcessor"


class Qwen2_5_VL(Family):
    """One tile an image, resized to whole patches.

    Tables 6 and 7 have no Qwen; it takes the ranges of OneVision, whose decoder has the same depth.
    """

    key = "qwen2.5-vl"
    model_types = ("qwen2_5_vl",)
    published = Published(
        depth=28, layers=(1, 27), heads=(0.3, 0.6), ranges=RANGES, value_scale="none"
    )

    @classmethod
    def processor_class(cls, model_type: str) -> type[ProcessorMixin] | None:
        return None if is_torchvision_available() else VideolessQwen2_5_VLProcessor

    @property
    def tower(self) -> nn.Module:
        return self.model.model.visual

    @property
    def last_attention(self) -> nn.Module:
        return self.tower.blocks[-1].attn

    @property
    def last_map_is_whole(self) -> bool:
        return len(self.tower.blocks) - 1 in self.tower.fullatt_block_indexes

    @property
    def merge(self) -> int:
        return self.model.config.vision_config.spatial_merge_size

    def in_decoder_order(
        self, inputs: Inputs, received: Sequence[Float[Tensor, "_ _"]]
    ) -> list[Float[Tensor, " _"]]:
        """The tower works on its tokens in the order of its windows."""
        vision, grids = self.model.config.vision_config, inputs["image_grid_thw"]
        order, _ = get_vision_window_index(
            grids, vision.spatial_merge_size, vision.window_size, vision.patch_size
        )
        values = torch.cat([each.flatten() for each in received])
        values = values[order.argsort().to(values.device)]
        return list(values.split(self._tokens(grids)))

    def tile_counts(self, inputs: Inputs) -> list[int]:
        return [1] * len(inputs["image_grid_thw"])

    def grids(self, inputs: Inputs) -> list[tuple[int, int]]:
        merge = self.merge
        return [(h // merge, w // merge) for _, h, w in inputs["image_grid_thw"].tolist()]

    @property
    def covered_share(self) -> float:
        return 1.0

    def frames(self, inputs: Inputs, sizes: Sequence[tuple[int, int]]) -> list[list[Frame]]:
        return [[(0.0, 0.0, float(width), float(height))] for width, height in sizes]

    def token_pixels(self, inputs: Inputs) -> list[Float[Tensor, "_ _ 3 height width"]]:
        """The processor hands over patches, m x m neighbours behind each other."""
        pixels, grids = inputs["pixel_values"].float(), inputs["image_grid_thw"]
        vision, merge = self.model.config.vision_config, self.merge
        size = vision.patch_size
        # An image is shown as two equal frames; the first will do.
        frame = pixels.view(len(pixels), 3, vision.temporal_patch_size, size, size)[:, :, 0]
        blocks = self.unnormalised(frame).view(-1, merge, merge, 3, size, size)
        blocks = blocks.permute(0, 3, 1, 4, 2, 5).reshape(-1, 3, merge * size, merge * size)
        return [block[None] for block in blocks.split(self._tokens(grids))]

    def position_inputs(
        self, ids: Int[Tensor, "batch tokens"], grid: tuple[int, int]
    ) -> dict[str, Tensor]:
        """Rows and columns of the visual tokens."""
        rows, columns = grid
        patches = torch.tensor([[1, self.merge * rows, self.merge * columns]], device=ids.device)
        return {
            "mm_token_type_ids": (ids == self.model.config.image_token_id).int(),
            "image_grid_thw": patches.expand(len(ids), 3),
        }

    def _tokens(self, grids: Int[Tensor, "images 3"]) -> list[int]:
        return [int(t * h * w) // self.merge**2 for t, h, w in grids]
