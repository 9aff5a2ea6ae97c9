"""Attention weights of the decoder, read head by head while the model runs.

The model's output comes from the usual SDPA kernel, which never shows its weights.  They are
computed again beside it, one head at a time and only among the tokens that are asked for, so
that the whole stack of maps never exists.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor, nn

from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.models.attention_functions import DECODER, register, running_on

_NAME = "sdpa_with_reader"
register(_NAME)
# Kernels that compute the same attention.  Another name means an intervention, whose weights
# are not the ones that are computed here.
_PLAIN = ("sdpa", "eager", "flash_attention_2", "flash_attention_3")


@dataclass(frozen=True)
class LayerAttention:
    """Attention of one sample of a batch in one layer; weights are computed when asked for."""

    layer: int
    sample: int
    query: Float[Tensor, "heads keys features"]
    key: Float[Tensor, "key_heads keys features"]
    allowed: Bool[Tensor, "tokens keys"]
    tokens: Bool[Tensor, "keys"]
    scaling: float

    def heads(self) -> Iterator[Float32[Tensor, "tokens tokens"]]:
        """Each head's weights among `tokens`: row i says how token i attends.

        The softmax runs in float32 and over all keys, those that are left out of the row too.
        """
        group = len(self.query) // len(self.key)
        for index, query in enumerate(self.query):
            key = self.key[index // group].float()
            scores = query[self.tokens].float() @ key.T * self.scaling
            scores.masked_fill_(~self.allowed, float("-inf"))
            yield scores.softmax(-1)[:, self.tokens]

    def mean(self) -> Float32[Tensor, "tokens tokens"]:
        """The mean over heads, A^(l) restricted to `tokens` (Appendix E)."""
        total: Tensor | None = None
        for head in self.heads():
            total = head if total is None else total.add_(head)
        return total / len(self.query)


LayerVisitor = Callable[[LayerAttention], None]


@contextmanager
def reading_attention(
    vlm: VisionLanguageModel, tokens: Bool[Tensor, "batch tokens"], visit: LayerVisitor
) -> Iterator[None]:
    """Within the block a forward pass shows `visit` every layer's attention, sample by sample.

    `tokens` says which tokens of each sample are read; padding must not be among them.  Where a
    key-value cache is in use, only the pass over the prompt is shown.  Logits are those of the
    model under SDPA, bit for bit.  Weights are computed where `tokens` lie, whatever device a
    layer is on.  The model is left as it was, also after an exception.

    Raises ValueError if the decoder's attention is not a plain one.
    """
    usual = vlm.decoder.config._attn_implementation
    if usual not in _PLAIN:
        raise ValueError(f"vlm: expected an attention of {_PLAIN}, got {usual!r}")
    read = _Reader(tokens, visit).read
    with running_on(vlm.model, DECODER, _NAME, {layer.self_attn: read for layer in vlm.layers}):
        yield


@dataclass(frozen=True)
class _Reader:
    tokens: Bool[Tensor, "batch keys"]
    visit: LayerVisitor

    def read(
        self,
        module: nn.Module,
        query: Float[Tensor, "batch heads rows features"],
        key: Float[Tensor, "batch key_heads keys features"],
        value: Float[Tensor, "batch key_heads keys features"],
        mask: Bool[Tensor, "batch 1 rows keys"] | None,
        scaling: float,
    ) -> None:
        """Show the pass over the prompt, sample by sample; SDPA computes its output."""
        if query.shape[2] != key.shape[2]:
            return
        query, key = query.to(self.tokens.device), key.to(self.tokens.device)
        mask = None if mask is None else mask.to(self.tokens.device)
        for sample, tokens in enumerate(self.tokens):
            self.visit(
                LayerAttention(
                    module.layer_idx, sample, query[sample], key[sample],
                    _allowed(mask, sample, tokens), tokens, scaling,
                )
            )  # fmt: skip


def _allowed(
    mask: Bool[Tensor, "batch 1 keys keys"] | None, sample: int, tokens: Bool[Tensor, "keys"]
) -> Bool[Tensor, "tokens keys"]:
    """Which keys each token may see; no mask stands for a purely causal one."""
    if mask is not None:
        return mask[sample, 0][tokens]
    positions = torch.arange(len(tokens), device=tokens.device)
    return positions <= positions[tokens, None]
