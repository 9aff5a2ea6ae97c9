"""Times in pairs, by a clock that the test sets: nothing here hangs on how fast a machine is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lost_in_attention.runs.timing import LEAST_PAIRS, median_ratio, paired_ratio


class Machine:
    """A clock, and calls that take so many seconds under the load of the moment."""

    def __init__(self, load):
        self.now, self.load, self.calls = 0.0, load, []

    def call(self, name, seconds):
        def run():
            # The first two calls are not timed; then a pair has one load.
            self.now += seconds * self.load[max(len(self.calls) - 2, 0) // 2]
            self.calls.append(name)

        return run

    def ratio(self, slow, fast, pairs):
        calls = self.call("a", slow), self.call("b", fast)
        return paired_ratio(*calls, pairs=pairs, clock=lambda: self.now)


@given(st.lists(st.floats(0.1, 100), min_size=7, max_size=7))
def test_load_that_falls_on_both_leaves_the_ratio(load):
    found = Machine(load).ratio(3.0, 2.0, 7)
    assert found[:3] == pytest.approx((1.5, 1.5, 1.5)) and found.pairs == 7


def test_the_two_take_turns_in_going_first():
    machine = Machine([1.0] * 6)
    machine.ratio(1.0, 1.0, 6)
    assert "".join(machine.calls) == "ab" + "baab" * 3


def test_one_disturbed_pair_of_nine_moves_no_bound():
    calm = [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8]
    assert median_ratio(calm) == (1.4, 1.1, 1.7, 9)
    assert median_ratio([*calm[:-1], 50.0]) == (1.4, 1.1, 1.7, 9)


def test_the_interval_holds_the_median_as_often_as_it_says():
    random = np.random.default_rng(0)
    hits = [
        low <= 1 <= high
        for _, low, high, _ in (median_ratio(np.exp(row)) for row in random.normal(size=(200, 9)))
    ]
    assert np.mean(hits) >= 0.94


def test_too_few_pairs_are_refused():
    with pytest.raises(ValueError, match=f"pairs: expected at least {LEAST_PAIRS}, got 5"):
        paired_ratio(print, print, pairs=5)
    with pytest.raises(ValueError, match="pairs: .* got 0"):
        median_ratio([])
