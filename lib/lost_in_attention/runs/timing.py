"""How much longer one computation takes than another, timed in pairs.

Other work on a machine comes and goes.  The two calls of a pair run back to back, so that it falls
on both alike, and only their ratio is kept.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import quantile_test
from torch.utils.benchmark import timer

# With fewer, no two order statistics hold the median with 95% confidence.
LEAST_PAIRS = 6


class Ratio(NamedTuple):
    """The median of the ratios of several pairs, and the bounds of its 95% interval."""

    median: float
    low: float
    high: float
    pairs: int


def paired_ratio(
    call: Callable[[], object],
    reference: Callable[[], object],
    *,
    pairs: int,
    clock: Callable[[], float] = timer,
) -> Ratio:
    """The time of `call` over that of `reference`.

    One call of each is not timed; then the two take turns in going first.  `clock` gives seconds,
    once an accelerator's work is done.

    Raises ValueError on fewer than `LEAST_PAIRS` pairs.
    """
    _check_pairs(pairs)
    call()
    reference()
    ratios = []
    for number in range(pairs):
        order = [(0, call), (1, reference)]
        seconds = dict.fromkeys((0, 1), 0.0)
        for which, each in order if number % 2 else reversed(order):
            begin = clock()
            each()
            seconds[which] = clock() - begin
        ratios.append(seconds[0] / seconds[1])
    return median_ratio(ratios)


def median_ratio(ratios: Sequence[float] | np.ndarray) -> Ratio:
    """The median with its interval: two of the ratios, whatever their distribution.

    Raises ValueError on fewer than `LEAST_PAIRS` ratios.
    """
    _check_pairs(len(ratios))
    interval = quantile_test(ratios, p=0.5).confidence_interval(0.95)
    return Ratio(float(np.median(ratios)), float(interval.low), float(interval.high), len(ratios))


def _check_pairs(pairs: int) -> None:
    if pairs < LEAST_PAIRS:
        raise ValueError(f"pairs: expected at least {LEAST_PAIRS}, got {pairs}")
