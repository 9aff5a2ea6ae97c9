"""How much longer one computation takes than another, timed in rounds.

Other work on a machine comes and goes.  The calls of a round run back to back, so that it falls on
all alike, and only the ratios of their times are kept.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle, islice
from typing import NamedTuple

import numpy as np
from scipy.stats import quantile_test
from torch.utils.benchmark import timer

# With fewer, no two order statistics hold the median with 95% confidence.
LEAST_ROUNDS = 6


class Ratio(NamedTuple):
    """The median of the ratios of several rounds, and the bounds of its 95% interval."""

    median: float
    low: float
    high: float
    rounds: int


def timed_ratios(
    calls: Mapping[str, Callable[[], object]],
    compared: Sequence[tuple[str, str]],
    *,
    rounds: int,
    clock: Callable[[], float] = timer,
) -> list[Ratio]:
    """Of every pair that is `compared` the time of the first call over that of the second.

    Each call is made once untimed.  A round makes each once; in as many rounds as there are calls
    each is made first, second and so on once, then the same with the order turned round.  `clock`
    gives seconds, once an accelerator's work is done.

    Raises ValueError on fewer than `LEAST_ROUNDS` rounds.
    """
    _check_rounds(rounds)
    for call in calls.values():
        call()
    seconds = {name: [] for name in calls}
    for order in islice(cycle(_orders(list(calls))), rounds):
        for name in order:
            begin = clock()
            calls[name]()
            seconds[name].append(clock() - begin)
    return [
        median_ratio([a / b for a, b in zip(seconds[one], seconds[other], strict=True)])
        for one, other in compared
    ]


def _orders(names: list[str]) -> list[list[str]]:
    """Every call in every place, once in the calls' own order and once in the reverse one."""
    turned = [names[start:] + names[:start] for start in range(len(names))]
    return turned + [order[::-1] for order in turned]


def median_ratio(ratios: Sequence[float] | np.ndarray) -> Ratio:
    """The median with its interval: two of the ratios, whatever their distribution.

    Raises ValueError on fewer than `LEAST_ROUNDS` ratios.
    """
    _check_rounds(len(ratios))
    interval = quantile_test(ratios, p=0.5).confidence_interval(0.95)
    return Ratio(float(np.median(ratios)), float(interval.low), float(interval.high), len(ratios))


def _check_rounds(rounds: int) -> None:
    if rounds < LEAST_ROUNDS:
        raise ValueError(f"rounds: expected at least {LEAST_ROUNDS}, got {rounds}")
