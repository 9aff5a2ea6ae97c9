"""Checks for the exercises of chapter 13, where attention is replaced."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Int

from lost_in_attention.teaching import exercise_check, numbers, require, require_close

Correct = Int[np.ndarray, "bands questions"]


@exercise_check
def check_heads_in_band(
    heads_in_band: Callable[[Sequence[float], float, float], Sequence[int]],
) -> None:
    """Heads by number, ranked from most text to least, both ends of the band included."""
    four = [0.1, 0.9, 0.5, 0.3]
    eleven = [(7 * head) % 11 / 20 for head in range(11)]
    # Of eleven heads rank r looks at text with the share (10 - r) / 20.
    known = [
        (four, 0.0, 0.3, [1]), (four, 0.3, 0.6, [2]), (four, 0.6, 0.9, [3]),
        (four, 0.0, 1.0, [0, 1, 2, 3]), (four, 1.0, 1.0, [0]),
        (eleven, 0.3, 0.6, sorted(eleven.index((10 - rank) / 20) for rank in range(3, 7))),
        (eleven, 0.0, 0.1, sorted(eleven.index((10 - rank) / 20) for rank in range(2))),
    ]  # fmt: skip
    for shares, low, high, expected in known:
        got = sorted(int(head) for head in heads_in_band(shares, low, high))
        what = f"{len(shares)} heads, band [{low}, {high}]"
        require(got == expected, f"{what}: expected {expected}, got {got}")


@exercise_check
def check_chosen_and_honest(
    chosen_and_honest: Callable[[Correct, Bool[np.ndarray, " questions"]], tuple[float, float]],
) -> None:
    """Leads by hand, where the two halves agree on the best band and where they do not."""
    correct = np.array(
        [[1, 1, 1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 1, 1, 1, 1], [0, 1, 0, 0, 1, 0, 0, 0]]
    )
    first = np.array([True] * 4 + [False] * 4)
    # Shares right: 3/4, 1/4, 1/4 on the first half and 1/4, 1, 1/4 on the second.
    swapped, leads = ~first, {}
    leads["chosen on the first four"] = (chosen_and_honest(correct, first), (1 / 3, -1 / 4))
    leads["chosen on the last four"] = (chosen_and_honest(correct, swapped), (1 / 2, -1 / 6))
    mixed = np.array([4, 0, 5, 1, 6, 2, 7, 3])
    leads["questions in another order"] = (
        chosen_and_honest(correct[:, mixed], first[mixed]),
        (1 / 3, -1 / 4),
    )
    better = np.array([[0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 1, 1]])
    leads["one band better on both halves"] = (
        chosen_and_honest(better, np.array([True, True, False, False, False, False])),
        (1 / 2, 1 / 4),
    )
    for name, (got, expected) in leads.items():
        pair = numbers("chosen_and_honest", got, 2)
        for half, found, known in zip(
            ("where it is chosen", "elsewhere"), pair, expected, strict=True
        ):
            require_close(f"{name}: lead {half}", found, known)
