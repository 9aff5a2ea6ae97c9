"""Other updates in the place of a module's own: what would RID and MixIG say of them?

Support innovation is the size of an update times its novelty, so a module may look innovative
because it writes much, or because it writes in new directions.  A control keeps one of the two
and takes the other from somewhere else.  It is a function of X and of dX, and `measure` applies
it to each update as the model makes it, so that no further forward pass is needed.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

Control = Callable[
    [Float64[Tensor, "tokens features"], Float64[Tensor, "tokens features"]],
    Float64[Tensor, "tokens features"],
]
"""(X, dX) to another update.  Its repr names it in a run's settings: use a dataclass."""


@dataclass(frozen=True)
class Resized:
    """The update's own direction at a given size |dX|_F / |X'|_F.  Raises what `resized` does."""

    size: float

    def __post_init__(self) -> None:
        _check_size(self.size)

    def __call__(self, before: Tensor, update: Tensor) -> Tensor:
        return resized(before, update, self.size)


@dataclass(frozen=True)
class Rotated:
    """The update turned at random in token and in feature space, at a given size.

    A dX B with random rotations A and B keeps the singular values of dX and nothing of where
    it points, so its novelty is that of chance.  Updates of one shape share their rotations.
    """

    size: float
    seed: int

    def __post_init__(self) -> None:
        _check_size(self.size)
        check_seed(self.seed)

    def __call__(self, before: Tensor, update: Tensor) -> Tensor:
        left, right = (
            random_rotation(length, (self.seed, side)).to(update)
            for side, length in enumerate(update.shape)
        )
        return resized(before, left @ update @ right, self.size)


@dataclass(frozen=True)
class Noise:
    """Gaussian noise of the update's mean and standard deviation (Section 4.2), in one layer.

    The layers before it are as they were; `baselines.noise_update` replaces all of them.
    """

    seed: int

    def __post_init__(self) -> None:
        check_seed(self.seed)

    def __call__(self, before: Tensor, update: Tensor) -> Tensor:
        return gaussian_like(update, [self.seed])


def resized(
    before: Float[Tensor, "tokens features"], update: Float[Tensor, "tokens features"], size: float
) -> Float[Tensor, "tokens features"]:
    """a dX with a > 0 such that |a dX|_F = size |X + a dX|_F.

    The scale is the positive root of (1 - s^2) |dX|^2 a^2 - 2 s^2 <X, dX> a - s^2 |X|^2 = 0.

    Raises ValueError unless 0 < size < 1, if the two shapes differ, or if X or the update is zero
    (no scale is right then) or not finite.
    """
    _check_size(size)
    if before.shape != update.shape:
        raise ValueError(
            "before and update: expected one shape, "
            f"got {tuple(before.shape)} and {tuple(update.shape)}"
        )
    square, state = _energy("update", update), _energy("before", before)
    inner = float((before * update).sum())
    share = size**2
    root = math.sqrt((share * inner) ** 2 + (1 - share) * share * square * state)
    return update * ((share * inner + root) / ((1 - share) * square))


# Enough for a batch of eight prompts of different lengths and one width; at 3,584 features a matrix
# has 103 MB.
@lru_cache(maxsize=9)
def random_rotation(length: int, seed: tuple[int, ...]) -> Float64[Tensor, "length length"]:
    """An orthogonal matrix drawn uniformly (Haar), on the CPU.

    Raises ValueError unless `length` is positive and no part of `seed` negative.
    """
    if length < 1:
        raise ValueError(f"length: expected at least 1, got {length}")
    check_seed(*seed)
    normal = np.random.default_rng(seed).standard_normal((length, length))
    q, r = torch.linalg.qr(torch.from_numpy(normal))
    # Without the signs of r the result would hang on the algorithm's conventions.
    return q * r.diagonal().sign()


def gaussian_like(
    values: Float[Tensor, "rows columns"], seed: Sequence[int]
) -> Float[Tensor, "rows columns"]:
    """Independent Gaussians with the mean and standard deviation of all entries of `values`.

    The same seed gives the first rows of the same endless matrix whatever the number of rows,
    so that neither the batch nor its order matters.

    Raises ValueError if `values` is empty or not finite, or a part of `seed` negative.
    """
    _check_finite("values", values)
    check_seed(*seed)
    drawn = np.random.default_rng(seed).standard_normal(tuple(values.shape), dtype=np.float32)
    std, mean = torch.std_mean(values.double(), correction=0)
    noise = torch.from_numpy(drawn).to(values.device, torch.float64)
    return (mean + std * noise).to(values.dtype)


def check_seed(*parts: int) -> None:
    """Raise ValueError if a part of the seed is negative."""
    if min(parts) < 0:
        raise ValueError(f"seed: expected 0 or more, got {min(parts)}")


def _check_size(size: float) -> None:
    if not 0 < size < 1:
        raise ValueError(f"size: expected a number between 0 and 1, got {size!r}")


def _check_finite(name: str, values: Float[Tensor, "rows columns"]) -> None:
    if not values.numel():
        raise ValueError(f"{name}: expected entries, got shape {tuple(values.shape)}")
    bad = values.numel() - int(values.isfinite().sum())
    if bad:
        raise ValueError(
            f"{name}: expected finite entries, got {bad} of {values.numel()} NaN or infinite"
        )


def _energy(name: str, values: Float[Tensor, "tokens features"]) -> float:
    """The sum of squares of a matrix that has a direction."""
    _check_finite(name, values)
    square = float(values.square().sum())
    if square == 0:
        raise ValueError(f"{name}: expected a nonzero entry, got zeros only")
    return square
