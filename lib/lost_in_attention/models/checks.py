"""What a loaded model must show before it is measured: three forward passes on one picture.

They catch what otherwise passes in silence: placeholders that do not match the vision tower's
output, an attention function that does not normalise, hooks on a branch that nothing reads.
"""

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import BatchFeature

from lost_in_attention.models.attention_functions import DECODER, running_on
from lost_in_attention.models.vlm import VisionLanguageModel

_PARTS = ("input_layernorm", "self_attn", "post_attention_layernorm", "mlp")


def check(vlm: VisionLanguageModel) -> None:
    """Check a model with three forward passes.

    Raises ValueError that says what was expected of the model and what it showed.
    """
    _has_layers(vlm)
    picture = _probe()
    with torch.inference_mode():
        inputs = vlm.prepare([picture], ["What is in the image?"])
        _has_visual_tokens(vlm, picture, inputs)
        _normalises(vlm, inputs)
        _reads_attention(vlm, inputs)


def _has_layers(vlm: VisionLanguageModel) -> None:
    for part in _PARTS:
        if not all(hasattr(layer, part) for layer in vlm.layers):
            raise ValueError(
                f"name: expected {vlm.name!r} to have decoder layers with {part!r}, "
                f"got {type(vlm.layers[0]).__name__}"
            )
    if getattr(vlm.model.config, "image_token_id", None) is None:
        raise ValueError(f"name: expected {vlm.name!r} to have an image token, got none")


def _has_visual_tokens(vlm: VisionLanguageModel, picture: Image.Image, inputs: BatchFeature):
    placeholders = int(vlm.visual_mask(inputs).sum())
    [features] = vlm.encode_images([picture])
    if placeholders != len(features) or not placeholders:
        raise ValueError(
            f"name: expected {vlm.name!r} to have a placeholder for each of the vision tower's "
            f"{len(features)} tokens, got {placeholders}"
        )


def _normalises(vlm: VisionLanguageModel, inputs: BatchFeature) -> None:
    # Own hooks: `output_attentions=True` would leave capturing hooks on the modules for good.
    errors: list[float] = []
    hooks = [
        layer.self_attn.register_forward_hook(
            lambda _, __, out: errors.append((out[1].float().sum(-1) - 1).abs().max().item())
        )
        for layer in vlm.layers
    ]
    try:
        with running_on(vlm.model, DECODER, "eager"):
            vlm.model(**inputs)
    finally:
        for hook in hooks:
            hook.remove()
    for layer, worst in enumerate(errors):
        # Half precision keeps about two digits of each of the summands.
        if not worst < 0.05:
            raise ValueError(
                f"name: expected the attention rows of {vlm.name!r} to sum to 1, "
                f"got a row off by {worst:.2g} in layer {layer}"
            )


def _reads_attention(vlm: VisionLanguageModel, inputs: BatchFeature) -> None:
    before = _last_logits(vlm, inputs)
    if not before.isfinite().all():
        raise ValueError(f"name: expected finite logits from {vlm.name!r}, got NaN or an infinity")
    middle = vlm.layers[len(vlm.layers) // 2].self_attn
    hook = middle.register_forward_hook(lambda _, __, out: (torch.zeros_like(out[0]), *out[1:]))
    try:
        after = _last_logits(vlm, inputs)
    finally:
        hook.remove()
    if torch.equal(before, after):
        raise ValueError(
            f"name: expected the logits of {vlm.name!r} to change when a layer's attention is "
            "set to zero, got the same"
        )


def _last_logits(vlm: VisionLanguageModel, inputs: BatchFeature) -> Tensor:
    return vlm.model(**inputs, logits_to_keep=1).logits[:, -1]


def _probe() -> Image.Image:
    """A picture that is not one colour, so that visual tokens differ."""
    ramp = np.linspace(0, 255, 96 * 96 * 3).reshape(96, 96, 3)
    return Image.fromarray(ramp.astype(np.uint8))
