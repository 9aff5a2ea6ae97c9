"""The vision encoder's last attention map, recorded while the encoder runs.

The map is that of the layer whose output the decoder sees.  It is reduced head by head to the
attention that each visual token receives: a whole map of a full-sized image takes gigabytes.
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

from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.vision.tiles import Inputs, merge_size, pack, tile_counts

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

    Raises ValueError as `recorded_attention` does.
    """
    pixels = vlm.processor.image_processor(
        [image.convert("RGB") for image in images], return_tensors="pt"
    ).to(vlm.device, dtype=vlm.model.dtype)
    with recorded_attention(vlm) as recorded:
        vlm.model.model.get_image_features(**pixels, return_dict=True)
    return recorded.in_decoder_order(vlm, pixels)


class Recorder:
    """What the encoder's last map gave in the passes since the recording began."""

    def __init__(self, pooling: str, merged: int, skipped: int) -> None:
        self.pooling, self.merged, self.skipped = pooling, merged, skipped
        self._received: list[Float[Tensor, "tiles patches"]] = []

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
        self, vlm: VisionLanguageModel, inputs: Inputs
    ) -> list[Float[Tensor, " tokens"]]:
        """What was recorded of the images of `inputs`, an entry for each."""
        if "image_grid_thw" in inputs:
            return self._out_of_windows(vlm, inputs["image_grid_thw"])
        tiles = torch.cat(self._received)[..., None].split(tile_counts(vlm, inputs))
        return [values[:, 0] for values in pack(vlm, inputs, tiles)]

    def _pooled(
        self, attention: Float[Tensor, "tiles queries keys"]
    ) -> Float[Tensor, "tiles tokens"]:
        """Over merged patches as `pooling` says, then the mean over queries."""
        own = attention[:, self.skipped :, self.skipped :]
        tokens = own.shape[-1] // self.merged
        blocks = own.view(len(own), tokens, self.merged, tokens, self.merged)
        if self.pooling == "max":
            return blocks.amax((2, 4)).mean(1)
        return blocks.mean((1, 2, 4))

    def _out_of_windows(
        self, vlm: VisionLanguageModel, grids: Tensor
    ) -> list[Float[Tensor, " tokens"]]:
        """Qwen's encoder works on its tokens in the order of its windows."""
        vision = vlm.model.config.vision_config
        order, _ = get_vision_window_index(
            grids, vision.spatial_merge_size, vision.window_size, vision.patch_size
        )
        received = torch.cat([each.flatten() for each in self._received])
        received = received[order.argsort().to(received.device)]
        return list(received.split([int(t * h * w) // self.merged for t, h, w in grids]))


@contextmanager
def recorded_attention(vlm: VisionLanguageModel, *, pooling: str = "mean") -> Iterator[Recorder]:
    """Within the block the vision tower records its last map; what it computes stays the same.

    `pooling` is how the patches of one token are pooled: "mean" (the paper) or "max" (the release).

    Raises:
        ValueError: an unknown pooling, a tower that does not run on SDPA, or one whose last map
            is not over the whole image.
    """
    if pooling not in POOLINGS:
        raise ValueError(f"pooling: expected one of {list(POOLINGS)}, got {pooling!r}")
    vision = vlm.model.config.vision_config
    if vision._attn_implementation != "sdpa":
        raise ValueError(
            f"vlm: expected the vision tower to run on 'sdpa', got {vision._attn_implementation!r}"
        )
    module = _last_module(vlm)
    strategy = getattr(vlm.model.config, "vision_feature_select_strategy", "full")
    recorder = Recorder(pooling, merge_size(vlm) ** 2, int(strategy == "default"))
    setattr(module, _RECORDER, recorder)
    try:
        vlm.model.set_attn_implementation({"vision_config": _NAME})
        yield recorder
    finally:
        vlm.model.set_attn_implementation({"vision_config": "sdpa"})
        delattr(module, _RECORDER)


def _last_module(vlm: VisionLanguageModel) -> nn.Module:
    """The attention module before the output that the decoder sees."""
    inner = vlm.model.model
    if hasattr(inner, "visual"):
        last = len(inner.visual.blocks) - 1
        if last not in inner.visual.fullatt_block_indexes:
            raise ValueError(
                "vlm: expected the vision tower's last layer to attend to the whole image, "
                "got one that attends within windows"
            )
        return inner.visual.blocks[last].attn
    chosen = vlm.model.config.vision_feature_layer
    chosen = chosen if isinstance(chosen, int) else chosen[-1]
    layers = inner.vision_tower.encoder.layers
    # Hidden state 0 is the tower's input, so state i is what layer i - 1 wrote.
    return layers[chosen - 1 if chosen > 0 else len(layers) + chosen].self_attn


def _attend(module, query, key, value, attention_mask, scaling=None, dropout=0.0, **kwargs):
    recorder = getattr(module, _RECORDER, None)
    if recorder is not None:
        recorder.see(query, key, scaling if scaling is not None else query.shape[-1] ** -0.5)
    return sdpa_attention_forward(
        module, query, key, value, attention_mask, scaling=scaling, dropout=dropout, **kwargs
    )


AttentionInterface.register(_NAME, _attend)
AttentionMaskInterface.register(_NAME, sdpa_mask)
