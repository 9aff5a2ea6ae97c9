"""What the vision encoder looks at, and which part of the image each visual token stands for."""

from lost_in_attention.models.vision.attention import (
    Recorder,
    check_recordable,
    encoder_attention,
    recorded_attention,
)
from lost_in_attention.models.vision.boxes import Box, patch_boxes
from lost_in_attention.models.vision.tiles import image_tiles, merge_size, pack, token_patches

__all__ = [
    "Box",
    "Recorder",
    "check_recordable",
    "encoder_attention",
    "image_tiles",
    "merge_size",
    "pack",
    "patch_boxes",
    "recorded_attention",
    "token_patches",
]
