"""Checks for the exercises of chapter 09, size or novelty."""

from collections.abc import Callable, Sequence

import torch

from lost_in_attention.teaching import exercise_check, require, require_close
from lost_in_attention.teaching.matrices import Matrix, gaussian


@exercise_check
def check_resize_factor(resize_factor: Callable[[Matrix, Matrix, float], float]) -> None:
    """The size is met, whether the update points along the state, against it or elsewhere."""
    random = torch.Generator().manual_seed(0)
    x, other = gaussian(5, 8, random), gaussian(5, 8, random)
    updates = {"anywhere": other, "along the state": x, "against it": 0.1 * other - x}
    for name, update in updates.items():
        for size in (0.1, 0.3, 0.8):
            factor = float(resize_factor(x, update, size))
            require(factor > 0, f"{name}: expected a factor above 0, got {factor:.6g}")
            got = float((factor * update).norm() / (x + factor * update).norm())
            require_close(f"size of an update that points {name}", got, size)


@exercise_check
def check_sign_flip_p(sign_flip_p: Callable[[Sequence[float]], float]) -> None:
    """Counts by hand, both sides, ties among them; and what a p-value cannot depend on."""
    known = {
        (1, 1, 1, 1, 1): 2 / 32,
        (-1, -2, -3): 2 / 8,
        (5, -1, 2): 4 / 8,
        (3, -3): 1,
        (2, -1, 0): 1,
        (4, 3, 2, 1, -1): 6 / 32,
    }
    for differences, expected in known.items():
        require_close(f"differences {differences}", sign_flip_p(differences), expected)
    random = torch.Generator().manual_seed(1)
    drawn = torch.randn(9, generator=random).tolist()
    p = float(sign_flip_p(drawn))
    require_close("in thousandths", sign_flip_p([1000 * d for d in drawn]), p)
    require_close("the other way round", sign_flip_p([-d for d in drawn]), p)
    count = p * 2**9
    require_close("p times the number of patterns, a whole number", count, round(count))
