"""Checks for the exercises of chapter 04, what an update adds."""

import math
from collections.abc import Callable
from itertools import permutations

import torch

from lost_in_attention.metrics.rid import rid, support_innovation
from lost_in_attention.teaching import exercise_check, require, require_close
from lost_in_attention.teaching.matrices import Matrix, diagonal, gaussian, low_rank, rotation


@exercise_check
def check_lost_support(lost_support: Callable[[Matrix, Matrix], float]) -> None:
    """Known losses, none where the spaces only grow, and no dependence on basis or scale."""
    both, first, second = diagonal(1, 1), diagonal(1, 0), diagonal(0, 1)
    require_close("diag(1, 1) to diag(1, 0)", lost_support(both, first), 1 / math.sqrt(2))
    require_close("diag(1, 0) to diag(1, 1)", lost_support(first, both), 0)
    require_close("diag(1, 0) to diag(0, 1)", lost_support(first, second), 1)
    wide = torch.tensor([[1.0, 1.0], [0.0, 0.0]], dtype=torch.float64)
    for name, before in (("(1, 1) to (1, 0)", wide), ("columns of the same", wide.T)):
        require_close(f"one row, {name}", lost_support(before, first), 1 / math.sqrt(8))
    random = torch.Generator().manual_seed(0)
    wide = gaussian(4, 9, random)
    mixed = rotation(4, random) @ wide
    require_close("tokens mixed, none lost", lost_support(wide, mixed), 0, tolerance=1e-6)
    before, after = low_rank(6, 9, 3, random), low_rank(6, 9, 2, random)
    lost = float(lost_support(before, after))
    require(0 < lost <= 1, f"a random state of lower rank: expected a share, got {lost:.4g}")
    left, right = rotation(6, random), rotation(9, random)
    turned = lost_support(5 * left @ before @ right, -0.1 * left @ after @ right)
    require_close("both states rotated and scaled", turned, lost, tolerance=1e-7)


@exercise_check
def check_update_factors(
    update_factors: Callable[[Matrix, Matrix], tuple[float, float, float]],
) -> None:
    """Closed forms, the product with the library's support innovation, and what scale leaves."""
    before = diagonal(1, 0)
    corner = torch.tensor([[0.0, 1.0], [0.0, 0.0]], dtype=torch.float64)
    known = {"diag(0, 1)": (diagonal(0, 1), (1, 1)), "a new feature": (corner, (0, 1))}
    for name, (update, novelties) in known.items():
        found = update_factors(before, update)
        require(len(found) == 3, f"expected size and two novelties, got {found!r}")
        for got, expected in zip(found, (1 / math.sqrt(2), *novelties), strict=True):
            require_close(f"diag(1, 0) plus {name}", got, expected)
    random = torch.Generator().manual_seed(1)
    for rank in (2, 5):
        before, update = low_rank(5, 8, rank, random), gaussian(5, 8, random)
        size, *novelties = update_factors(before, update)
        product = float(size) * sum(map(float, novelties)) / 2
        expected = support_innovation(before, before + update)
        require_close(f"half the product, rank {rank}", product, expected, tolerance=1e-7)
        scaled = update_factors(before, 7 * update)[1:]
        for got, same in zip(scaled, novelties, strict=True):
            require_close("novelty of seven times the update", got, float(same), tolerance=1e-7)
    mixing = gaussian(5, 5, random) @ before
    novelty = update_factors(before, mixing)[2]
    require_close("feature novelty of mixed tokens", novelty, 0, tolerance=1e-6)


@exercise_check
def check_counterexample(counterexample: Callable[[int, int], tuple[Matrix, Matrix]]) -> None:
    """The two ranks are as asked for, and the library finds RID zero in one direction."""
    for larger, smaller in ((3, 2), (5, 2), (6, 4)):
        before, after = counterexample(larger, smaller)
        for name, x, rank in (("before", before, larger), ("after", after, smaller)):
            values = torch.linalg.svdvals(x.double())
            found = int((values > 1e-5 * values[0]).sum())
            require(found == rank, f"rank of {name}: expected {rank}, got {found}")
        total = rid(before.double(), after.double()).total
        require_close(f"RID, ranks {larger} and {smaller}", total, 0, tolerance=1e-6)


@exercise_check
def check_support_distance(support_distance: Callable[[Matrix, Matrix], float]) -> None:
    """A metric up to scale that sees lost support, forgets rotations, and does not jump."""
    random = torch.Generator().manual_seed(2)
    states = [low_rank(5, 7, rank, random) for rank in (1, 2, 4, 5)]
    for a, b, c in permutations(states, 3):
        ab, ba, bc, ac = (
            float(support_distance(*pair)) for pair in ((a, b), (b, a), (b, c), (a, c))
        )
        require_close("the other direction", ba, ab)
        require(0 < ab <= 1 + 1e-9, f"expected a distance in (0, 1], got {ab:.4g}")
        require(ac <= ab + bc + 1e-9, f"triangle: {ac:.4g} is more than {ab:.4g} + {bc:.4g}")
    a, b = states[1:3]
    require_close("a state and its multiple", support_distance(a, -3 * a), 0)
    left, right = rotation(5, random), rotation(7, random)
    turned = support_distance(left @ a @ right, left @ b @ right)
    require_close("both states rotated", turned, float(support_distance(a, b)))
    apart = support_distance(diagonal(1, 2, 0, 0), diagonal(0, 0, 3, 1))
    require_close("orthogonal supports", apart, 1)
    lost = float(support_distance(diagonal(1, 1, 1), diagonal(1, 1, 0)))
    require(lost > 0.05, f"a third of the support is lost: expected more than 0.05, got {lost:.3g}")
    faded = float(support_distance(diagonal(1, 1, 1), diagonal(1, 1, 1e-6)))
    gap = abs(faded - lost)
    require(gap < 1e-3, f"strength 1e-6 instead of 0: expected a gap below 1e-3, got {gap:.3g}")
