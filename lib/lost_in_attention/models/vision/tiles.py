"""From the tiles that an image is cut into to the decoder's visual tokens.

A tile is what the vision tower sees at once, a grid of patches.  Qwen and LLaVA-1.5 show it one
tile an image.  LLaVA-NeXT and LLaVA-OneVision show the whole image first and then its parts
(anyres), cut the padding off the parts and end each row with a newline token.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers.models.llava_next.modeling_llava_next import image_size_to_num_patches

from lost_in_attention.models import VisionLanguageModel

# What the processor says of a batch's images: pixel_values, image_grid_thw, image_sizes, ...
Inputs = Mapping[str, Any]
# Images of one batch differ in their number of tiles, and Qwen's in that of patches.
TileValues = Float[Tensor, "_ _ features"]


def has_tiles(vlm: VisionLanguageModel) -> bool:
    """Whether the family cuts images into tiles."""
    return hasattr(vlm.model.model, "pack_image_features")


def merge_size(vlm: VisionLanguageModel) -> int:
    """m: a visual token stands for m x m patches of the vision tower."""
    return getattr(vlm.model.config.vision_config, "spatial_merge_size", 1)


def grid_sizes(vlm: VisionLanguageModel, inputs: Inputs) -> list[tuple[int, int]]:
    """Rows and columns of visual tokens in a tile of each image, newlines not counted."""
    if "image_grid_thw" in inputs:
        merge = merge_size(vlm)
        return [(h // merge, w // merge) for _, h, w in inputs["image_grid_thw"].tolist()]
    vision = vlm.model.config.vision_config
    side = vision.image_size // vision.patch_size
    return [(side, side)] * len(tile_counts(vlm, inputs))


def covered_share(vlm: VisionLanguageModel) -> float:
    """How much of a tile's side its patches cover; what is left over at its end is not seen.

    Qwen resizes images to whole patches, the other towers have tiles of a fixed size.
    """
    vision = vlm.model.config.vision_config
    size = getattr(vision, "image_size", vision.patch_size)
    return size // vision.patch_size * vision.patch_size / size


def tile_counts(vlm: VisionLanguageModel, inputs: Inputs) -> list[int]:
    """Number of tiles of each image."""
    if "image_grid_thw" in inputs:
        return [1] * len(inputs["image_grid_thw"])
    if not has_tiles(vlm):
        return [1] * len(inputs["pixel_values"])
    config = vlm.model.config
    return [
        image_size_to_num_patches(
            size, config.image_grid_pinpoints, config.vision_config.image_size
        )
        if alone
        else 1
        for size, alone in zip(inputs["image_sizes"], stands_alone(inputs), strict=True)
    ]


def stands_alone(inputs: Inputs) -> list[bool]:
    """Whether an image is the only one of its prompt; OneVision cuts only those into parts."""
    counts = inputs.get("batch_num_images")
    if counts is None:
        return [True] * len(inputs["image_sizes"])
    return [int(count) == 1 for count in counts for _ in range(int(count))]


def image_tiles(
    vlm: VisionLanguageModel, inputs: Inputs
) -> list[Float[Tensor, "_ _ 3 height width"]]:
    """The pixels behind each visual token before packing, in [0, 1], an entry for each image."""
    pixels = inputs["pixel_values"].float()
    if "image_grid_thw" in inputs:
        return [block[None] for block in _qwen_patches(vlm, pixels, inputs["image_grid_thw"])]
    if pixels.dim() == 5:
        counts = tile_counts(vlm, inputs)
        images = [each[:count] for each, count in zip(pixels, counts, strict=True)]
    else:
        images = list(pixels[:, None])
    size = vlm.model.config.vision_config.patch_size
    return [_patches(_unnormalised(vlm, tiles), size) for tiles in images]


def token_patches(
    vlm: VisionLanguageModel,
    inputs: Inputs,
    measure: Callable[[Float[Tensor, "*tiles 3 height width"]], Float[Tensor, "*tiles"]],
) -> list[Float[Tensor, " _"]]:
    """`measure(patches)` of each visual token, an entry for each image; NaN for newlines."""
    return [
        values[:, 0]
        for values in pack(vlm, inputs, [measure(t)[..., None] for t in image_tiles(vlm, inputs)])
    ]


def pack(
    vlm: VisionLanguageModel, inputs: Inputs, tiles: Sequence[TileValues]
) -> list[Float[Tensor, "_ features"]]:
    """Values of tiles in the decoder's order of tokens, as the model packs its features.

    Newline tokens are NaN.
    """
    if not has_tiles(vlm):
        return [image[0] for image in tiles]
    newline = torch.full_like(tiles[0][0, 0], torch.nan)
    config = vlm.model.config
    options = {"vision_feature_select_strategy": config.vision_feature_select_strategy}
    if hasattr(config, "vision_aspect_ratio"):
        options = {"vision_aspect_ratio": config.vision_aspect_ratio}
    packed, _ = vlm.model.model.pack_image_features(
        list(tiles), inputs["image_sizes"], image_newline=newline, **options
    )
    return packed


def _qwen_patches(
    vlm: VisionLanguageModel, pixels: Float[Tensor, "patches values"], grids: Tensor
) -> list[Float[Tensor, "_ 3 height width"]]:
    """Qwen's processor hands over patches, m x m neighbours behind each other."""
    vision, merge = vlm.model.config.vision_config, merge_size(vlm)
    size = vision.patch_size
    # An image is shown as two equal frames; the first will do.
    frame = pixels.view(len(pixels), 3, vision.temporal_patch_size, size, size)[:, :, 0]
    blocks = _unnormalised(vlm, frame).view(-1, merge, merge, 3, size, size)
    blocks = blocks.permute(0, 3, 1, 4, 2, 5).reshape(-1, 3, merge * size, merge * size)
    return list(blocks.split([int(t * h * w) // merge**2 for t, h, w in grids]))


def _patches(
    tiles: Float[Tensor, "tiles 3 height width"], size: int
) -> Float[Tensor, "tiles patches 3 size size"]:
    rows = tiles.unfold(2, size, size).unfold(3, size, size)
    return rows.permute(0, 2, 3, 1, 4, 5).flatten(1, 2)


def _unnormalised(
    vlm: VisionLanguageModel, pixels: Float[Tensor, "images 3 height width"]
) -> Float[Tensor, "images 3 height width"]:
    processor = vlm.processor.image_processor
    if not processor.do_normalize:
        return pixels
    mean, std = (
        torch.tensor(values, device=pixels.device).view(1, 3, 1, 1)
        for values in (processor.image_mean, processor.image_std)
    )
    return pixels * std + mean
