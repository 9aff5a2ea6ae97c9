"""Checks for the exercises of chapter 10, readings."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float64
from torch import Tensor

from lost_in_attention.teaching import exercise_check, require_close
from lost_in_attention.teaching.matrices import Matrix, gaussian, rotation

Values = Float64[Tensor, " values"]


@exercise_check
def check_directions_kept(directions_kept: Callable[[Values, float], int]) -> None:
    """Counts that are known, shares that are met exactly, and zeros that hold nothing."""
    known = [
        ((5, 1), 0.9, 1), ((1, 5), 0.9, 1), ((1, 1, 1, 1), 0.5, 2), ((1, 1, 1, 1), 0.51, 3),
        ((4, 2, 2, 2, 2), 0.5, 1), ((4, 2, 2, 2, 2), 0.51, 2), ((3, 0, 0), 1.0, 1),
        ((2, 0, 1), 0.99, 2),
    ]  # fmt: skip
    for values, share, expected in known:
        sigma = torch.tensor(values, dtype=torch.float64)
        require_close(f"values {values}, share {share}", directions_kept(sigma, share), expected)
    random = torch.Generator().manual_seed(0)
    sigma = torch.rand(50, generator=random, dtype=torch.float64)
    require_close("50 positive values, share 1", directions_kept(sigma, 1.0), 50)
    require_close("ten times as large", directions_kept(10 * sigma, 0.9), _kept(sigma, 0.9))


def _kept(sigma: Values, share: float) -> int:
    """By taking the largest away, one after the other, until little enough is left."""
    left, kept = sorted(sigma.square().tolist()), 0
    most = (1 - share) * sum(left)
    while sum(left) > most:
        left.pop()
        kept += 1
    return kept


@exercise_check
def check_released_entropy(released_entropy: Callable[[Matrix], float]) -> None:
    """Closed forms between 0 and 1, and only the last token's cosines count."""
    eye = torch.eye(5, dtype=torch.float64)
    weight = 2.0**-8
    total = 1 + 4 * weight
    apart = (math.log(total) + 4 * weight * 8 * math.log(2) / total) / math.log(5)
    line = torch.ones(5, 3, dtype=torch.float64)
    against = torch.cat([line[:4], -line[:1]])
    known = {
        "five equal tokens": (line, 1.0),
        "five orthogonal tokens": (eye, apart),
        "four equal tokens and a last one orthogonal to them": (eye[[0, 0, 0, 0, 1]], apart),
        "four tokens and their opposite as the last": (against, 0.0),
    }
    for name, (x, expected) in known.items():
        require_close(name, released_entropy(x), expected, tolerance=1e-6)
    random = torch.Generator().manual_seed(0)
    x = gaussian(6, 4, random)
    value = float(released_entropy(x))
    order = torch.tensor([3, 1, 0, 4, 2, 5])
    require_close("the other tokens in another order", released_entropy(x[order]), value)
    lengths = torch.rand(6, 1, generator=random, dtype=torch.float64) + 0.1
    require_close("other lengths", released_entropy(lengths * x), value)
    require_close("a rotation", released_entropy(x @ rotation(4, random)), value)
