"""Residual states, read while the model runs.

A decoder layer writes twice into the residual stream (Section 3.1.2):

    X_attn[l] = X_in[l] + dX_attn[l]
    X_ffn[l]  = X_attn[l] + dX_ffn[l]  =  X_in[l + 1]

so a decoder of L layers has 2L + 1 different states.  `record` hands each of them to a
visitor during the forward pass and keeps none: at 28 layers, 1,400 tokens and 3,584
features they would fill half a gigabyte.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.models.changed import check_named


@dataclass(frozen=True)
class State:
    """One residual state of a batch.

    `module` says what wrote last: "attention" (X_attn) or "ffn" (X_ffn) of `layer`, or
    "input" for X_in of layer 0, which no layer has written to.
    """

    layer: int
    module: str
    hidden: Float[Tensor, "batch tokens features"]


StateVisitor = Callable[[State], None]


@torch.inference_mode()
def record(vlm: VisionLanguageModel, inputs: Mapping[str, Any], visit: StateVisitor) -> None:
    """Run the model once on `inputs` and show `visit` its 2L + 1 states, first to last.

    The tensors are the model's own: a visitor that wants to keep one copies it.  States of
    layers on another device are brought to that of the inputs.  The model is left as it was,
    also after an exception in the visitor.
    """
    with visiting(vlm, visit):
        vlm.model.model(**inputs, use_cache=False)


@contextmanager
def visiting(vlm: VisionLanguageModel, visit: StateVisitor) -> Iterator[None]:
    """Within the block every forward pass of the decoder shows its states to `visit`.

    Where a key-value cache is in use, only the pass over the prompt is shown.

    Raises ValueError if the model is changed and `vlm` does not name it so (`check_named`).
    """
    check_named(vlm)
    handles = []
    try:
        for index, layer in enumerate(vlm.layers):
            handles += _watch(layer, index, visit, vlm.device)
        yield
    finally:
        for handle in handles:
            handle.remove()


def _watch(layer: torch.nn.Module, index: int, visit: StateVisitor, device: torch.device) -> list:
    """Hooks on one layer: where attention's sum enters the second norm, and the output."""
    prompt = True

    def show(module: str, hidden: Tensor) -> None:
        visit(State(index, module, hidden.to(device)))

    def entered(module, args, kwargs):
        nonlocal prompt
        cache = kwargs.get("past_key_values")
        prompt = cache is None or cache.get_seq_length(index) == 0
        if prompt and index == 0:
            show("input", args[0])

    def after_attention(module, args):
        if prompt:
            show("attention", args[0])

    def after_ffn(module, args, output):
        if prompt:
            show("ffn", output)

    return [
        layer.register_forward_pre_hook(entered, with_kwargs=True),
        layer.post_attention_layernorm.register_forward_pre_hook(after_attention),
        layer.register_forward_hook(after_ffn),
    ]
