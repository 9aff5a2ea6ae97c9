"""The decoder in training: images are features, and what precedes an answer's token is learned."""

from collections.abc import Sequence

from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPooling

from lost_in_attention.models import VisionLanguageModel


def answer_logits(
    vlm: VisionLanguageModel,
    ids: Int[Tensor, "batch tokens"],
    learned: Bool[Tensor, "batch tokens"],
    features: Sequence[Float[Tensor, "_ hidden"]],
    grid: int,
) -> tuple[Float[Tensor, "learned vocabulary"], Int[Tensor, " learned"]]:
    """The logits before every learned token, and that token; `features` and `grid` as in `decode`.

    Padding on the right needs no attention mask: a causal decoder never looks there.
    """
    hidden = decode(vlm, ids, features, grid)
    return vlm.model.lm_head(hidden[:, :-1][learned[:, 1:]]), ids[learned]


def decode(
    vlm: VisionLanguageModel,
    ids: Int[Tensor, "batch tokens"],
    features: Sequence[Float[Tensor, "_ hidden"]],
    grid: int,
) -> Float[Tensor, "batch tokens hidden"]:
    """The decoder's last hidden states, with images given as the vision tower's output.

    Each prompt has one image of `grid` x `grid` visual tokens.
    """
    images = {"image": BaseModelOutputWithPooling(pooler_output=tuple(features))}
    positions = vlm.family.position_inputs(ids, (grid, grid))
    return vlm.model.model(
        input_ids=ids, mm_encoder_outputs=images, use_cache=False, **positions
    ).last_hidden_state
