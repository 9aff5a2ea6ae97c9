"""The vision encoder's last attention map, recorded while the encoder runs.

The paper and its release both read the tower's last layer (Appendix C.3).  LLaVA-1.5 and
LLaVA-NeXT hand the decoder the output of the layer before, so there the map is not that of the
features.  It is reduced head by head to the attention that each visual token receives: a whole map
of a full-sized image takes gigabytes.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask
from transformers.vision_utils import get_vision_window_index

from lost_in_attention.images import rgb
from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.models.vision.tiles import Inputs, merge_size, pack, tile_counts

# How the patches of one token are pooled: the paper takes the mean, the release the largest.
POOLINGS = ("mean", "max")
_NAME = "recorded_vision_attention"
_RECORDER = "_attention_recorder"


@torch.inference_mode()
def encoder_attention(
    vlm: VisionLanguageModel, images: Sequence[Image.Image]
) -> list[Float[Tensor, " tokens"]]:
    """The attention that each visual token receives in the encoder's last map (Appendix C.3).

    One float32 vector an image, each image alone in its prompt: the mean over heads, queries and
    the patches that a token merges, in the decoder's order; NaN for newline tokens.

    Raises ValueError as `check_recordable` does.
    """
    pixels = vlm.processor.image_processor(list(map(rgb, images)), return_tensors="pt").to(
        vlm.device, dtype=vlm.model.dtype
    )
    with recorded_attention(vlm) as recorded:
        vlm.model.model.get_image_features(**pixels, return_dict=True)
    return recorded.in_decoder_order(vlm, pixels)


class Recorder:
    """What the encoder's last map gave in the passes since the recording began."""

    def __init__(self, merged: int, skipped: int) -> None:
        self.merged, self.skipped = merged, skipped
        self._received: list[Float[Tensor, "poolings tiles tokens"]] = []

    def see(
        self,
        query: Float[Tensor, "tiles heads patches features"],
        key: Float[Tensor, "tiles heads patches features"],
        scaling: float,
    ) -> None:
        heads = [
            self._pooled((q.float() @ k.float().transpose(-1, -2) * scaling).softmax(-1))
            for q, k in zip(query.unbind(1), key.unbind(1), strict=True)
        ]
        self._received.append(torch.stack(heads).mean(0))

    def in_decoder_order(
        self, vlm: VisionLanguageModel, inputs: Inputs, *, pooling: str = "mean"
    ) -> list[Float[Tensor, " tokens"]]:
        """What was recorded of the images of `inputs`, an entry for each.

        `pooling` is how the patches of one token are pooled: "mean" (the paper) or "max" (the
        release).  Raises ValueError on another one.
        """
        if pooling not in POOLINGS:
            raise ValueError(f"pooling: expected one of {list(POOLINGS)}, got {pooling!r}")
        received = [each[POOLINGS.index(pooling)] for each in self._received]
        if "image_grid_thw" in inputs:
            return self._out_of_windows(vlm, inputs["image_grid_thw"], received)
        tiles = torch.cat(received)[..., None].split(tile_counts(vlm, inputs))
        return [values[:, 0] for values in pack(vlm, inputs, tiles)]

    def _pooled(
        self, attention: Float[Tensor, "tiles queries keys"]
    ) -> Float[Tensor, "poolings tiles tokens"]:
        """Over merged patches in the order of `POOLINGS`, then the mean over queries."""
        own = attention[:, self.skipped :, self.skipped :]
        tokens = own.shape[-1] // self.merged
        blocks = own.reshape(len(own), tokens, self.merged, tokens, self.merged)
        return torch.stack([blocks.mean((1, 2, 4)), blocks.amax((2, 4)).mean(1)])

    def _out_of_windows(
        self, vlm: VisionLanguageModel, grids: Tensor, received: list[Float[Tensor, "1 tokens"]]
    ) -> list[Float[Tensor, " tokens"]]:
        """Qwen's encoder works on its tokens in the order of its windows."""
        vision = vlm.model.config.vision_config
        order, _ = get_vision_window_index(
            grids, vision.spatial_merge_size, vision.window_size, vision.patch_size
        )
        values = torch.cat([each.flatten() for each in received])
        values = values[order.argsort().to(values.device)]
        return list(values.split([int(t * h * w) // self.merged for t, h, w in grids]))


@contextmanager
def recorded_attention(vlm: VisionLanguageModel) -> Iterator[Recorder]:
    """Within the block the vision tower records its last map; what it computes stays the same.

    Raises ValueError as `check_recordable` does.
    """
    check_recordable(vlm)
    module = _last_module(vlm)
    strategy = getattr(vlm.model.config, "vision_feature_select_strategy", "full")
    recorder = Recorder(merge_size(vlm) ** 2, int(strategy == "default"))
    setattr(module, _RECORDER, recorder)
    try:
        vlm.model.set_attn_implementation({"vision_config": _NAME})
        yield recorder
    finally:
        vlm.model.set_attn_implementation({"vision_config": "sdpa"})
        delattr(module, _RECORDER)


def check_recordable(vlm: VisionLanguageModel) -> None:
    """Raises ValueError if the tower does not run on SDPA or its last map is not a whole one."""
    implementation = vlm.model.config.vision_config._attn_implementation
    if implementation != "sdpa":
        raise ValueError(f"vlm: expected the vision tower to run on 'sdpa', got {implementation!r}")
    visual = getattr(vlm.model.model, "visual", None)
    if visual is not None and len(visual.blocks) - 1 not in visual.fullatt_block_indexes:
        raise ValueError(
            "vlm: expected the vision tower's last layer to attend to the whole image, "
            "got one that attends within windows"
        )


def _last_module(vlm: VisionLanguageModel) -> nn.Module:
    """The attention module of the tower's last layer."""
    inner = vlm.model.model
    if hasattr(inner, "visual"):
        return inner.visual.blocks[-1].attn
    return inner.vision_tower.encoder.layers[-1].self_attn


def _attend(module, query, key, value, attention_mask, scaling=None, dropout=0.0, **kwargs):
    recorder = getattr(module, _RECORDER, None)
    if recorder is not None:
        recorder.see(query, key, scaling if scaling is not None else query.shape[-1] ** -0.5)
    return sdpa_attention_forward(
        module, query, key, value, attention_mask, scaling=scaling, dropout=dropout, **kwargs
    )


AttentionInterface.register(_NAME, _attend)
AttentionMaskInterface.register(_NAME, sdpa_mask)
