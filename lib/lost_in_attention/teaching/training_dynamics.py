"""Checks for the exercises of chapter 11, dynamics of training."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float64

from lost_in_attention.teaching import exercise_check, numbers, require, require_close

Values = Float64[np.ndarray, " questions"]
Numbers = Sequence[float]


@exercise_check
def check_parting_step(parting_step: Callable[[Numbers, Numbers, Numbers], float]) -> None:
    """For good, on the side where it ends, from the step itself on."""
    steps = [0, 10, 100, 1000]
    known = {
        "above zero from the start": ([0.1, 0.1, 0.1, 0.1], [1, 1, 1, 1], 0),
        "above zero from the second step on": ([-1, 0.1, 0.2, 0.3], [1, 1, 1, 1], 10),
        "above, open once more, above": ([0.1, -0.5, 0.1, 0.2], [1, 0.5, 1, 1], 100),
        "above, then below": ([0.1, 0.1, -1, -1], [1, 1, -0.1, -0.2], 100),
        "below from the second step on": ([-1, -2, -2, -2], [1, -1, -1, -1], 10),
        "only the last step": ([-1, -1, -1, 0.5], [1, 1, 1, 1], 1000),
        "open at the end": ([0.1, 0.1, 0.1, -0.1], [1, 1, 1, 1], math.inf),
    }
    for name, (low, high, expected) in known.items():
        got = float(parting_step(steps, low, high))
        require(got == expected, f"{name}: expected {expected}, got {got:g}")


@exercise_check
def check_bootstrap_interval(
    bootstrap_interval: Callable[[Values, Sequence[int], int], tuple[float, float]],
) -> None:
    """About 1.96 standard errors of the images' means on either side, and the mean of questions."""
    random = np.random.default_rng(0)
    images = np.repeat(np.arange(40), 5)
    levels = random.normal(size=40)
    values = levels[images] + 0.1 * random.normal(size=200)
    means = values.reshape(40, 5).mean(1)
    half = 1.96 * float(means.std()) / math.sqrt(40)
    low, high = numbers("bootstrap_interval", bootstrap_interval(values, images, 0), 2)
    what = "of 200 questions on 40 images"
    width = (float(high) - float(low)) / 2
    require_close(f"half the width {what}", width, half, tolerance=0.1 * half)
    middle = (float(high) + float(low)) / 2
    require_close(f"middle {what}", middle, float(values.mean()), tolerance=0.1 * half)
    again = numbers("bootstrap_interval", bootstrap_interval(values, images, 0), 2)
    require(bool((again == low.new_tensor([low, high])).all()), "one seed, two answers")
    images = np.concatenate([np.arange(30), np.repeat(np.arange(30, 60), 9)])
    values = (images < 30).astype(float)
    low, high = numbers("bootstrap_interval", bootstrap_interval(values, images, 0), 2)
    inside = 0.05 < float(low) < 0.1 < float(high) < 0.2
    said = f"got {float(low):.3f} to {float(high):.3f}"
    require(inside, f"30 of 300 questions right, one each on 30 images: the mean is 0.1, {said}")
