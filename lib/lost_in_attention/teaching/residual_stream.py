"""Checks for the exercise of chapter 01, the residual stream."""

from collections.abc import Callable, Sequence

import torch

from lost_in_attention.teaching import exercise_check, numbers, require_equal
from lost_in_attention.teaching.matrices import Matrix, diagonal, gaussian, rotation


@exercise_check
def check_update_sizes(update_sizes: Callable[[Sequence[Matrix]], Sequence[float]]) -> None:
    """Sizes that are known, one fewer than states, and no dependence on scale or basis."""
    first = diagonal(3, 4)
    states = [first, 2 * first, 2 * first, -2 * first, diagonal(0, -8)]
    known = torch.tensor([0.5, 0, 2, 6 / 8], dtype=torch.float64)
    # The last update, from (-6, -8) to (0, -8), has the norm 6 of 8.
    require_equal("diag(3, 4), its double, again, its opposite", update_sizes(states), known)
    grown = [diagonal(1, 0), diagonal(1, 1)]
    root = torch.tensor([0.5**0.5], dtype=torch.float64)
    require_equal("diag(1, 0) to diag(1, 1)", update_sizes(grown), root)
    random = torch.Generator().manual_seed(0)
    states = [gaussian(6, 4, random) for _ in range(5)]
    turn = rotation(4, random)
    sizes = numbers("update_sizes", update_sizes(states), 4)
    turned = update_sizes([7 * x @ turn for x in states])
    require_equal("states rotated and scaled", turned, sizes)
