"""Checks for the exercises of chapter 08, the tolerance."""

import math
from collections.abc import Callable, Sequence

import torch

from lost_in_attention.teaching import (
    exercise_check,
    numbers,
    require,
    require_close,
    require_equal,
)
from lost_in_attention.teaching.matrices import Matrix, diagonal, gaussian


@exercise_check
def check_rotate(rotate: Callable[[Matrix, float], Matrix]) -> None:
    """Lengths and position 0 stay, products know only the distance, with the right frequencies.

    Whether features are paired with neighbours or across the halves makes no difference here.
    """
    random = torch.Generator().manual_seed(0)
    x = gaussian(9, 6, random)
    turned = numbers("rotate", rotate(x, 100.0), 9, 6)
    require_equal("position 0", turned[0], x[0])
    require_equal("length of every row", turned.norm(dim=1), x.norm(dim=1))
    require(not torch.allclose(turned[1:], x[1:]), "positions after 0 should be rotated")
    ones = numbers("rotate", rotate(torch.ones(9, 6, dtype=torch.float64), 100.0), 9, 6)
    for query, key in ((1, 0), (5, 2), (8, 5), (2, 5)):
        distance = query - key
        expected = sum(2 * math.cos(distance * 100.0 ** (-2 * i / 6)) for i in range(3))
        what = f"product of rows of ones at positions {query} and {key}, base 100"
        require_close(what, ones[query] @ ones[key], expected)
    same = numbers("rotate", rotate(x[:1].expand(9, 6), 10_000.0), 9, 6)
    far, near = same[7] @ same[4], same[4] @ same[1]
    require_close("one vector at distance 3, at two places", far, float(near))


@exercise_check
def check_tolerance(
    tolerance: Callable[[Sequence[Matrix], Sequence[Matrix]], float],
) -> None:
    """Values that are known, in the direction of the definition, and without layer 0."""
    both, one = diagonal(1, 1), diagonal(1, 0)
    require_close("no layer moves", tolerance([both] * 3, [3 * both] * 3), 0)
    grown = tolerance([both, one, one], [both, both, both])
    # Spectrum change 1/2; the support gains one of two directions, in rows and in columns.
    expected = 0.5 + 1 / math.sqrt(2)
    require_close("diag(1, 0) with rotary embedding, diag(1, 1) without", grown, expected)
    lost = tolerance([both, both, both], [both, one, one])
    require_close("diag(1, 1) with rotary embedding, diag(1, 0) without", lost, 0.5)
    mixed = tolerance([both, both, one], [both, one, one])
    require_close("layer 1 as before, layer 2 not moved", mixed, 0.25)
