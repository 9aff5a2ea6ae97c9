"""Checks for the exercises of chapter 02, effective rank."""

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from jaxtyping import Float64
from torch import Tensor

from lost_in_attention.metrics.rid import effective_rank
from lost_in_attention.teaching import exercise_check, numbers, require, require_close
from lost_in_attention.teaching.matrices import Matrix, diagonal, gaussian, rotation

Values = Float64[Tensor, " values"]


@exercise_check
def check_rank_k_error(rank_k_error: Callable[[Matrix, int], float]) -> None:
    """Known errors of a diagonal matrix, invariance, and no random approximation is better."""
    x = diagonal(3.0, 2.0, 1.0)
    for k, squared in ((0, 14), (1, 5), (2, 1), (3, 0)):
        expected = math.sqrt(squared / 14)
        require_close(f"diag(3, 2, 1), k = {k}", rank_k_error(x, k), expected)
    random = torch.Generator().manual_seed(0)
    tall = gaussian(9, 5, random)
    turned = rotation(9, random) @ tall
    for k in (1, 3):
        best = float(rank_k_error(tall, k))
        require_close("rotation of the tokens", rank_k_error(turned, k), best)
        require_close("ten times the matrix", rank_k_error(10 * tall, k), best)
        for _ in range(20):
            basis = torch.linalg.qr(gaussian(5, k, random))[0]
            other = float((tall - tall @ basis @ basis.T).norm() / tall.norm())
            require(best <= other + 1e-9, f"k = {k}: {best:.4g}, but a random one has {other:.4g}")


@exercise_check
def check_hill_number(hill_number: Callable[[Values, float, float], float]) -> None:
    """Closed forms for the spectrum (2, 1, 1), equal values, and the order of orders."""
    sigma = torch.tensor([2.0, 1.0, 1.0], dtype=torch.float64)
    known = {
        (1, 0): 3.0, (1, 1): 2**1.5, (2, 0): 3.0, (2, 2): 2.0, (2, math.inf): 1.5,
        (1, math.inf): 2.0, (1, 2): 8 / 3,
    }  # fmt: skip
    for (power, order), expected in known.items():
        what = f"sigma = (2, 1, 1), power {power}, order {order}"
        require_close(what, hill_number(sigma, power, order), expected)
    padded = torch.cat([sigma, torch.zeros(4, dtype=torch.float64)])
    for power, order in known:
        equal = hill_number(torch.full((6,), 0.3, dtype=torch.float64), power, order)
        require_close(f"six equal values, power {power}, order {order}", equal, 6.0)
        same = float(hill_number(sigma, power, order))
        require_close("with zeros appended", hill_number(padded, power, order), same)
    random = torch.Generator().manual_seed(1)
    sigma = torch.rand(12, generator=random, dtype=torch.float64).sort(descending=True).values
    numbers = [float(hill_number(sigma, 1, order)) for order in (0, 0.5, 1, 2, 5, math.inf)]
    falling = all(a >= b - 1e-9 for a, b in pairwise(numbers))
    require(falling, f"a higher order should not count more dimensions, got {numbers}")


@exercise_check
def check_misleading_spectrum(misleading_spectrum: Callable[[float, float], Values]) -> None:
    """The spectrum keeps both of its promises, which are computed here from scratch."""
    for target, error in ((5.0, 0.1), (20.0, 0.01), (100.0, 0.001)):
        sigma = torch.as_tensor(misleading_spectrum(target, error))
        allowed = math.ceil(max(target**2 / 4, 1 / error)) + 2
        sigma = numbers("misleading_spectrum", sigma, sigma.numel())
        require(len(sigma) <= allowed, f"expected at most {allowed} values, got {len(sigma)}")
        require(bool((sigma >= 0).all()) and float(sigma.sum()) > 0, "values must be >= 0, not 0")
        p = sigma / sigma.sum()
        got = math.exp(float(torch.special.entr(p).sum()))
        require(got >= target, f"eRank: expected at least {target:g}, got {got:.4g}")
        energies = sigma.square()
        left = float(1 - energies.max() / energies.sum())
        require(left <= error, f"rank-one error: expected at most {error:g}, got {left:.4g}")


@exercise_check
def check_effective_rank_gradient(effective_rank_gradient: Callable[[Matrix], Matrix]) -> None:
    """Against finite differences of the library's eRank, in random directions and along X."""
    random = torch.Generator().manual_seed(2)
    for shape in ((4, 7), (6, 3), (5, 5)):
        x = torch.randn(shape, generator=random, dtype=torch.float64)
        gradient = numbers("effective_rank_gradient", effective_rank_gradient(x), *shape)
        require_close("slope along X itself", float((gradient * x).sum()), 0.0, tolerance=1e-7)
        for _ in range(5):
            step = 1e-4 * torch.randn(shape, generator=random, dtype=torch.float64)
            slope = (effective_rank(x + step) - effective_rank(x - step)) / 2
            what = f"change of eRank along a small step, shape {shape}"
            got = float((gradient * step).sum())
            require_close(what, got, slope, tolerance=1e-3 * float(gradient.norm() * step.norm()))
        require(float(gradient.norm()) > 1e-6, "a random matrix is not a stationary point")
