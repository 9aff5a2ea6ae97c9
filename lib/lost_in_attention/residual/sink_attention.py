"""How much of a head's attention goes to sinks, and how much elsewhere."""

import math
from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def queries_behind(
    keys: Mapping[str, Bool[Tensor, " tokens"]], tokens: int
) -> Bool[Tensor, " tokens"]:
    """The tokens behind all of the given ones: each of them could attend to each of those."""
    last = max((int(each.nonzero().max()) for each in keys.values() if each.any()), default=-1)
    return torch.arange(tokens) > last


def attention_shares(
    weights: Float[Tensor, "tokens tokens"], keys: Mapping[str, Bool[Tensor, " tokens"]]
) -> dict[str, float]:
    """The share of a head's weight on each group of keys, by name: a mean over `queries_behind`.

    Row i of `weights` says how token i attends, and sums to 1.  Groups may overlap; one without
    tokens has 0.  Without a token behind the groups all shares are NaN.

    Raises ValueError unless the rows sum to 1.
    """
    sums = weights.sum(1)
    if not torch.allclose(sums, torch.ones_like(sums), atol=1e-3):
        low, high = float(sums.min()), float(sums.max())
        raise ValueError(f"weights: expected rows that sum to 1, got {low:.4g} to {high:.4g}")
    rows = weights[queries_behind(keys, len(weights)).to(weights.device)]
    if not len(rows):
        return dict.fromkeys(keys, math.nan)
    return {name: float(rows[:, each].sum(1).mean()) for name, each in keys.items()}


def share_among(weights: Float[Tensor, "tokens tokens"], tokens: Bool[Tensor, " tokens"]) -> float:
    """The share of their weight that these tokens give each other, a mean over them; NaN of none.

    What a graph over them sees of a head.
    """
    if not tokens.any():
        return math.nan
    own = tokens.to(weights.device)
    return float(weights[own][:, own].sum(1).mean())
