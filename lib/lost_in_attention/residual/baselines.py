"""Models with a learned part put out of action: the paper's two noise baselines, and no RoPE.

    with noise_update(vlm, seed=0) as noisy:
        table = measure(noisy, samples)

Each context yields the model under a name that says what was done to it, so that tables and run
files cannot be mistaken for the model's own, and leaves it exactly as it was found, also after
an error or an interrupt.  Within the block the model runs under that name alone (`changed`).
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from jaxtyping import Bool
from torch import Tensor

from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.models.changed import changing
from lost_in_attention.residual.controls import check_seed, gaussian_like

_PROJECTIONS = ("q_proj", "k_proj", "v_proj")


@contextmanager
def noise_update(vlm: VisionLanguageModel, *, seed: int) -> Iterator[VisionLanguageModel]:
    """Noise-Delta (Section 4.2): every layer's attention update becomes Gaussian noise.

    The noise has the mean and the standard deviation of all entries of the update that the
    layer would have written for this sample; padding counts for nothing and stays.  As all
    layers are replaced at once, these moments are those of a layer that reads noise already.
    Each layer has its own stream, the same for all samples.

    Raises ValueError on a negative seed, or on a model that is not what it is named.
    """
    check_seed(seed)
    not_padding: Bool[Tensor, "batch tokens"] | None = None

    def see_padding(module, args, kwargs):
        nonlocal not_padding
        mask = kwargs.get("attention_mask")
        not_padding = None if mask is None else mask.bool()

    def replace_update(layer: int):
        def hook(module, args, output):
            return _noise_outside_padding(output[0], not_padding, [seed, layer]), *output[1:]

        return hook

    with changing(vlm, f"noise update, seed {seed}") as noisy, ExitStack() as undo:
        see = vlm.decoder.register_forward_pre_hook(see_padding, with_kwargs=True)
        undo.callback(see.remove)
        for index, layer in enumerate(vlm.layers):
            hook = layer.self_attn.register_forward_hook(replace_update(index))
            undo.callback(hook.remove)
        yield noisy


@contextmanager
def noise_qkv(vlm: VisionLanguageModel, *, seed: int) -> Iterator[VisionLanguageModel]:
    """Noise-QKV (Section 4.2): query, key and value weights become Gaussian noise.

    Each matrix keeps the mean and the standard deviation of its entries and has a stream of its
    own.  Biases, where a family has them, stay as they were learned, and so does the output
    projection.

    Raises ValueError on a negative seed, on quantised weights, whose entries are codes, or on a
    model that is not what it is named.
    """
    check_seed(seed)
    if kinds := {str(w.dtype) for w in _qkv(vlm) if not w.is_floating_point()}:
        raise ValueError(f"vlm: expected weights of numbers, got {kinds.pop()}, quantised ones")
    with changing(vlm, f"noise QKV, seed {seed}") as noisy, ExitStack() as undo:
        for index, layer in enumerate(vlm.layers):
            for number, name in enumerate(_PROJECTIONS):
                weight = getattr(layer.self_attn, name).weight
                undo.callback(setattr, weight, "data", weight.data)
                weight.data = gaussian_like(weight.data, [seed, index, number])
        yield noisy


@contextmanager
def without_rope(vlm: VisionLanguageModel) -> Iterator[VisionLanguageModel]:
    """No rotary embedding in the decoder: queries and keys carry no position (Section 3.3.1).

    The vision tower keeps its own.  Keys that were cached outside the block carry positions:
    never go on with such a cache.

    Raises ValueError on a model that is not what it is named.
    """

    def no_rotation(module, args, output):
        cos, sin = output
        return torch.full_like(cos, module.attention_scaling), torch.zeros_like(sin)

    with changing(vlm, "no RoPE") as bare:
        hook = vlm.decoder.rotary_emb.register_forward_hook(no_rotation)
        try:
            yield bare
        finally:
            hook.remove()


def _qkv(vlm: VisionLanguageModel) -> Iterator[Tensor]:
    """The query, key and value weights, layer by layer."""
    return (getattr(layer.self_attn, name).weight for layer in vlm.layers for name in _PROJECTIONS)


def _noise_outside_padding(
    update: Tensor, not_padding: Bool[Tensor, "batch tokens"] | None, seed: list[int]
) -> Tensor:
    noisy = update.clone()
    if not_padding is not None:
        not_padding = not_padding.to(update.device)
    for index, tokens in enumerate(update):
        # A cache makes the mask longer than the update: its last columns are the new tokens.
        rows = slice(None) if not_padding is None else not_padding[index, -len(tokens) :]
        noisy[index, rows] = gaussian_like(tokens[rows], seed)
    return noisy
