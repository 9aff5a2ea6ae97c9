"""Times in rounds, by a clock that the test sets: nothing here hangs on how fast a machine is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lost_in_attention.runs.timing import LEAST_ROUNDS, median_ratio, timed_ratios


class Machine:
    """A clock, and calls that take so many seconds under the load of the moment."""

    def __init__(self, load, count):
        self.now, self.load, self.count, self.calls = 0.0, load, count, []

    def call(self, name, seconds):
        def run():
            # The first calls are not timed; then a round has one load.
            self.now += seconds * self.load[max(len(self.calls) // self.count - 1, 0)]
            self.calls.append(name)

        return run

    def ratios(self, seconds, compared, rounds):
        calls = {name: self.call(name, each) for name, each in seconds.items()}
        return timed_ratios(calls, compared, rounds=rounds, clock=lambda: self.now)


@given(st.lists(st.floats(0.1, 100), min_size=7, max_size=7))
def test_load_that_falls_on_all_leaves_the_ratios(load):
    seconds = {"a": 3.0, "b": 2.0, "c": 6.0}
    slow, half = Machine(load, 3).ratios(seconds, [("a", "b"), ("a", "c")], 7)
    assert slow[:3] == pytest.approx((1.5, 1.5, 1.5)) and slow.rounds == 7
    assert half[:3] == pytest.approx((0.5, 0.5, 0.5))


def test_calls_take_turns_in_going_first():
    machine = Machine([1.0] * 6, 2)
    machine.ratios({"a": 1.0, "b": 1.0}, [("a", "b")], 6)
    assert "".join(machine.calls) == "ab" + "abbabaab" + "abba"
    machine = Machine([1.0] * 6, 3)
    machine.ratios(dict.fromkeys("abc", 1.0), [("a", "b")], 6)
    assert "".join(machine.calls) == "abc" + "abcbcacab" + "cbaacbbac"
    machine = Machine([1.0] * 6, 5)
    machine.ratios(dict.fromkeys("abcde", 1.0), [("a", "b")], 6)
    rounds = ["".join(machine.calls[start : start + 5]) for start in range(5, 35, 5)]
    for place in range(5):
        assert {each[place] for each in rounds[:5]} == set("abcde")


def test_one_disturbed_round_of_nine_moves_no_bound():
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


def test_too_few_rounds_are_refused():
    with pytest.raises(ValueError, match=f"rounds: expected at least {LEAST_ROUNDS}, got 5"):
        timed_ratios({"a": print}, [], rounds=5)
    with pytest.raises(ValueError, match="rounds: .* got 0"):
        median_ratio([])
