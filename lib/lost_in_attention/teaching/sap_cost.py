"""Checks for the exercises of chapter 14, the cost of replaced attention."""

from collections.abc import Callable

import torch
from jaxtyping import Float64
from torch import Tensor

from lost_in_attention.teaching import (
    Watched,
    exercise_check,
    numbers,
    require,
    require_close,
    require_equal,
)
from lost_in_attention.teaching.matrices import Matrix, gaussian


@exercise_check
def check_score_flops(score_flops: Callable[[int, int, int, int, int], float]) -> None:
    """Counts by hand, and the two cases in which nothing can be saved."""
    known = {
        (4, 1, 2, 1, 3): 2 * 3 * (16 + 4),
        (4, 1, 2, 2, 3): 2 * 3 * (4 + 4),
        (2000, 200, 10, 3, 128): 7_475_200_000,
        (2000, 200, 28, 28, 128): 2 * 128 * 28 * 400_000,
    }
    names = ("tokens", "text", "heads", "replaced", "features")
    for sizes, expected in known.items():
        what = ", ".join(f"{size} {name}" for name, size in zip(names, sizes, strict=True))
        require_close(what, score_flops(*sizes), expected)
    full = float(score_flops(50, 5, 8, 0, 16))
    require_close("all tokens text", score_flops(50, 50, 8, 8, 16), full)
    half = (full + float(score_flops(50, 5, 8, 8, 16))) / 2
    require_close("half of the heads replaced", score_flops(50, 5, 8, 4, 16), half)


@exercise_check
def check_running_average(
    running_average: Callable[[Float64[Tensor, " tokens"], Matrix], Matrix],
) -> None:
    """The rows of causal attention with these scores, without a matrix of tokens by tokens."""
    random = torch.Generator().manual_seed(0)
    for tokens, features in ((6, 3), (40, 2)):
        prior, values = gaussian(1, tokens, random)[0], gaussian(tokens, features, random)
        later = torch.ones(tokens, tokens, dtype=torch.bool).triu(1)
        weights = prior.expand(tokens, tokens).masked_fill(later, -torch.inf).softmax(1)
        rows = running_average(prior, values)
        require_equal(f"rows of {tokens} tokens", rows, weights @ values)
        higher = running_average(prior + 800, values)
        require_equal("a prior that is 800 higher", higher, weights @ values)
    prior, values = gaussian(1, 1500, random)[0], gaussian(1500, 2, random)
    with Watched() as seen:
        rows = running_average(prior, values)
    numbers("running_average", rows, 1500, 2)
    asked = "1500 tokens and 2 features: expected tensors of at most 3000 entries"
    require(seen.largest <= 3000, f"{asked}, got one of {seen.largest}")
