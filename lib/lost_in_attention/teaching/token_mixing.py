"""Checks for the exercises of chapter 05, token mixing."""

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from lost_in_attention.metrics.mixing import token_mixing_entropy
from lost_in_attention.teaching import exercise_check, numbers, require, require_close
from lost_in_attention.teaching.matrices import Matrix, gaussian, rotation


@exercise_check
def check_mixing_entropy(mixing_entropy: Callable[[Matrix], float]) -> None:
    """Closed forms, and no dependence on the tokens' norms and order or on a rotation."""
    plane = [[math.cos(angle), math.sin(angle)] for angle in (0, 2 * math.pi / 3, 4 * math.pi / 3)]
    known = {
        "seven equal tokens": (torch.ones(7, 3), math.log(7)),
        "three tokens against one": (
            torch.tensor([[1.0], [2.0], [1.0], [-5.0]]),
            0.75 * math.log(3),
        ),
        "three at 120 degrees": (torch.tensor(plane), math.log(1.5) + math.log(4) / 3),
        "four orthogonal tokens": (torch.eye(4), math.log(2.5) + 0.6 * math.log(2)),
    }
    for name, (x, expected) in known.items():
        require_close(name, mixing_entropy(x.double()), expected, tolerance=1e-6)
    random = torch.Generator().manual_seed(0)
    x = gaussian(9, 4, random)
    entropy = float(mixing_entropy(x))
    norms = torch.rand(9, 1, generator=random, dtype=torch.float64) + 0.1
    turn = rotation(4, random)
    for name, other in (("norms", norms * x), ("order", x.flip(0)), ("rotation", x @ turn)):
        require_close(f"another {name}", mixing_entropy(other), entropy)
    # Among so many pairs the rounded cosine of some lies below -1.
    for opposite in gaussian(200, 7, random):
        pair = torch.stack([opposite, -opposite])
        require_close("two opposite tokens", mixing_entropy(pair), 0, tolerance=1e-6)


@exercise_check
def check_common_cosine_entropy(
    common_cosine_entropy: Callable[[int, float, float], float],
) -> None:
    """Against the library's TME of tokens that are built with one cosine for every pair."""
    for tokens, cosine, power in (
        (2, 0.0, 1), (5, 0.3, 1), (5, -0.25, 1), (12, 0.0, 8), (12, 0.7, 8), (3, 0.5, 2.5),
        (2, -1.0, 1), (4, 1.0, 8),
    ):  # fmt: skip
        gram = torch.full((tokens, tokens), cosine, dtype=torch.float64).fill_diagonal_(1)
        values, vectors = torch.linalg.eigh(gram)
        x = vectors * values.clamp(min=0).sqrt()
        expected = token_mixing_entropy(x, power=power)
        what = f"{tokens} tokens, cosine {cosine}, power {power}"
        got = common_cosine_entropy(tokens, cosine, power)
        require_close(what, got, expected, tolerance=1e-6)
    large = common_cosine_entropy(1000, 0.0, 400)
    require_close("a thousand orthogonal tokens, power 400", large, 0)


@exercise_check
def check_centring_bias(centring_bias: Callable[[Matrix], Float[Tensor, " features"]]) -> None:
    """One vector, added to every token of a line, brings TME down to its least value."""
    random = torch.Generator().manual_seed(1)
    for tokens, features in ((2, 3), (6, 1), (7, 4), (11, 2), (30, 5)):
        along = gaussian(tokens, 1, random)
        direction = gaussian(1, features, random)
        x = 3 + gaussian(1, features, random) + along * direction
        bias = numbers("centring_bias", centring_bias(x), features)
        moved = x + bias
        shortest = float(moved.norm(dim=1).min())
        require(shortest > 1e-9, "a token became zero: it has no direction")
        few = tokens // 2
        least = sum(n * math.log(n) for n in (few, tokens - few)) / tokens
        what = f"TME of {tokens} tokens with the vector added"
        require_close(what, token_mixing_entropy(moved), least, tolerance=1e-6)


@exercise_check
def check_alikeness(alikeness: Callable[[Matrix], float]) -> None:
    """0 for orthogonal tokens, 1 for equal ones, rising between; blind to norms and order."""
    random = torch.Generator().manual_seed(2)
    for tokens in (3, 20):
        x = torch.eye(tokens, dtype=torch.float64)
        rising = [float(alikeness(x + common)) for common in (0.0, 0.2, 0.5, 1.0, 3.0, 10.0)]
        require_close(f"{tokens} orthogonal tokens", rising[0], 0)
        steps = [b - a for a, b in pairwise(rising)]
        require(min(steps) > 1e-6, f"a larger common part should raise it, got {rising}")
        equal = torch.ones(tokens, 4, dtype=torch.float64)
        require_close(f"{tokens} equal tokens", alikeness(equal), 1, tolerance=1e-6)
    x = gaussian(9, 4, random)
    value = float(alikeness(x))
    require(0 < value < 1, f"random tokens: expected a number between 0 and 1, got {value:.4g}")
    norms = torch.rand(9, 1, generator=random, dtype=torch.float64) + 0.1
    turn = rotation(4, random)
    for name, other in (("norms", norms * x), ("order", x.flip(0)), ("rotation", x @ turn)):
        require_close(f"another {name}", alikeness(other), value)
