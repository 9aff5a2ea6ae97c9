"""Checks for the exercises of chapter 07, module by module."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float64

from lost_in_attention.teaching import exercise_check, numbers, require, require_close
from lost_in_attention.teaching.matrices import Matrix, gaussian

Values = Float64[np.ndarray, " questions"]


@exercise_check
def check_feature_noise(feature_noise: Callable[[Matrix, int], Matrix]) -> None:
    """Each feature's mean and standard deviation are kept; the tokens' order means nothing."""
    random = torch.Generator().manual_seed(0)
    tokens, means, spreads = 20_000, (0.0, 5.0, -2.0), (1.0, 0.1, 3.0)
    update = gaussian(tokens, 3, random).abs()
    update = (update - update.mean(0)) / update.std(0) * torch.tensor(spreads).double()
    update = update + torch.tensor(means).double()
    noise = numbers("feature_noise", feature_noise(update, 0), tokens, 3)
    for feature, (mean, spread) in enumerate(zip(means, spreads, strict=True)):
        what = f"of feature {feature} over {tokens} tokens"
        error = 5 * spread / math.sqrt(tokens)
        require_close(f"mean {what}", noise[:, feature].mean(), mean, tolerance=error)
        got = noise[:, feature].std()
        require_close(f"standard deviation {what}", got, spread, tolerance=0.03 * spread)
    # The update's own values are skewed; a Gaussian's are not.
    skew = float(((noise - noise.mean(0)) / noise.std(0)).pow(3).mean())
    require(abs(skew) < 0.1, f"skewness: expected about 0, got {skew:.3f}: is it Gaussian?")
    again, other = (torch.as_tensor(feature_noise(update, seed)) for seed in (0, 1))
    require(bool((noise == again).all()), "one seed should give one noise")
    require(not bool((noise == other).any()), "another seed should give other noise")


@exercise_check
def check_paired_interval(
    paired_interval: Callable[[Values, Values, Sequence[str]], tuple[float, float, float]],
) -> None:
    """A closed form; what all questions share and questions asked again change nothing."""
    gaps, low = np.array([1.0, 2.0, 3.0, 4.0]), 2.5 - 1.96 * math.sqrt(5 / 12)
    known, images = (2.5, low, 5 - low), list("abcd")
    shared = np.array([100.0, -300.0, 20.0, 7.0])

    def compare(what: str, got: tuple[float, float, float], expected: tuple) -> None:
        found = numbers("paired_interval", got, 3)
        for name, one, other in zip(("mean", "low", "high"), found, expected, strict=True):
            require_close(f"{what}: {name}", one, other, tolerance=1e-6)

    compare("differences 1, 2, 3, 4", paired_interval(gaps, 0 * gaps, images), known)
    found = paired_interval(gaps + shared, shared, images)
    compare("the same, both with an offset of the question", found, known)
    found = paired_interval(shared, gaps + shared, images)
    compare("the two modules swapped", found, (-2.5, low - 5, -low))
    thrice = np.repeat(gaps, 3) + np.tile([-0.5, 0.0, 0.5], 4)
    found = paired_interval(thrice, 0 * thrice, list("aaabbbcccddd"))
    compare("three questions an image, their means 1, 2, 3, 4", found, known)
    order = np.random.default_rng(0).permutation(12)
    mixed = [list("aaabbbcccddd")[i] for i in order]
    compare("the same in another order", paired_interval(thrice[order], 0 * thrice, mixed), known)
