"""Which heads a plan replaces, and how large the release makes its prior (Appendix C.3)."""

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Ranking = Literal["weights", "scores", "two_sided_scores"]


def chosen_heads(
    query: Float[Tensor, "batch heads features"],
    key: Float[Tensor, "batch kv_heads keys features"],
    *,
    visual: Bool[Tensor, "batch keys"],
    not_padding: Bool[Tensor, "batch keys"],
    prompt: int,
    ranking: Ranking,
    ranks: range,
    scaling: float,
) -> Int[Tensor, "batch chosen"]:
    """The heads of each sample whose rank is in `ranks`, in the order of the heads.

    Heads are ordered by s_h, minus the mean of what one query gives to text, smallest first.
    The paper averages s_h over the batch; each sample is a batch of its own here, so that it
    does not matter what it is evaluated with.  The first `prompt` keys are the prompt: its N ends
    at S_c, so weights on generated tokens do not count; the release takes its scores of all keys.
    """
    scores = row_scores(query, key, scaling).masked_fill(~not_padding[:, None], -torch.inf)
    text = not_padding & ~visual
    if ranking == "weights":
        look = _mean(scores.softmax(-1)[..., :prompt], text[:, :prompt])
    elif ranking == "scores":
        look = _mean(scores, text)
    else:
        look = _two_sided_mean(scores, text, visual)
    order = (-look).argsort(dim=1, stable=True)
    return order[:, ranks.start : ranks.stop].sort(dim=1).values


def row_scores(
    query: Float[Tensor, "batch heads features"],
    key: Float[Tensor, "batch kv_heads keys features"],
    scaling: float,
) -> Float[Tensor, "batch heads keys"]:
    """One query's scores of all keys, in float32."""
    grouped = query.unflatten(1, (key.shape[1], -1)).float()
    return (grouped @ key.float().transpose(-1, -2)).flatten(1, 2) * scaling


def mean_scores(
    query: Float[Tensor, "batch heads rows features"],
    key: Float[Tensor, "batch kv_heads keys features"],
    *,
    not_padding: Bool[Tensor, "batch keys"],
    first: int,
    prompt: int,
    scaling: float,
) -> Float[Tensor, "batch rows"]:
    """The mean score that each row is matched to, over all heads.

    Row `prompt` - 1, the prompt's last, stands for all of the prompt's queries and keys; a later
    row for itself and the keys up to it.  `first` is the position of row 0.  Means of products are
    products of means, so no score is computed.
    """
    keys = _running_mean(key.float(), not_padding)[:, :, first : first + query.shape[2]]
    queries = query.float().unflatten(1, (key.shape[1], -1)).mean(2)
    if first < prompt:
        own = _running_mean(queries, not_padding[:, first : first + query.shape[2]])
        last = prompt - 1 - first
        queries = torch.cat(
            [queries[:, :, :last], own[:, :, last : last + 1], queries[:, :, last + 1 :]], 2
        )
    return (queries * keys).sum(-1).mean(1) * scaling


def _running_mean(
    states: Float[Tensor, "batch heads rows features"], not_padding: Bool[Tensor, "batch rows"]
) -> Float[Tensor, "batch heads rows features"]:
    count = not_padding.cumsum(1).clamp(min=1)[:, None, :, None]
    return (states * not_padding[:, None, :, None]).cumsum(2) / count


def _mean(
    values: Float[Tensor, "batch heads keys"], where: Bool[Tensor, "batch keys"]
) -> Float[Tensor, "batch heads"]:
    """The mean over the keys `where`; NaN where there are none."""
    return values.masked_fill(~where[:, None], 0).sum(-1) / where.sum(-1)[:, None]


def _two_sided_mean(
    scores: Float[Tensor, "batch heads keys"],
    text: Bool[Tensor, "batch keys"],
    visual: Bool[Tensor, "batch keys"],
) -> Float[Tensor, "batch heads"]:
    """The average of the means before and behind the images; a side without text does not count."""
    started = visual.cumsum(1)
    before, behind = text & (started == 0), text & (started == started[:, -1:])
    return torch.stack([_mean(scores, before), _mean(scores, behind)]).nanmean(0)
