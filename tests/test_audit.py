"""Arithmetic on the paper's printed tables: constructed cases, and what the real ones give."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from lost_in_attention.publishing import audit


@given(st.integers(1, 2000), st.data())
def test_whole_counts_fit_their_own_size(size, data):
    right = data.draw(st.integers(0, size))
    assert audit.whole_counts([round(100 * right / size, 2)], size).all()


def test_percentages_between_two_counts_do_not_fit():
    # Thirds: 33.33 and 66.67 are counts of 3, half is not.
    assert audit.whole_counts([33.33, 66.67, 50.0, 33.34], 3).tolist() == [True, True, False, False]
    # One decimal is coarser.
    assert audit.whole_counts([33.3], 3, decimals=1).all()
    assert not audit.whole_counts([33.3], 3).any()


def test_sizes_that_fit_are_found_with_their_multiples():
    printed = [round(100 * right / 7, 2) for right in range(8)]
    assert audit.fitting_sizes(printed, most=30) == [7, 14, 21, 28]
    with pytest.raises(ValueError, match="most: expected at least 1, got 0"):
        audit.fitting_sizes(printed, most=0)


def test_a_data_set_without_a_size_is_named():
    table = pd.DataFrame({"dataset": ["coins", "coins", "AVG"], "accuracy": [50.0, 33.33, 41.67]})
    found = audit.smallest_sizes(table, most=9)
    assert found.to_dict("records") == [
        {"dataset": "coins", "cells": 2, "values": 2, "size": 6, "only": True}
    ]
    with pytest.raises(ValueError, match="expected one that holds a size of coins, got 5"):
        audit.smallest_sizes(table, most=5)


def test_what_fits_by_chance():
    assert audit.share_by_chance(1) == pytest.approx(2 / 10001)
    assert audit.share_by_chance(1000, decimals=1) == 1
    assert audit.share_by_chance(400) == pytest.approx(401 / 10001)


def test_errors_in_points():
    assert audit.standard_error([50.0], [100]) == pytest.approx([5.0])
    assert audit.average_error([50.0, 50.0], [100, 100]) == pytest.approx(5 / 2**0.5)
    # Four sets of 100 are as good as one of 400, where the accuracies are alike.
    assert audit.average_error([50.0] * 4, [100] * 4) == pytest.approx(
        audit.standard_error([50.0], [400])[0]
    )


def test_the_gain_of_choosing_is_that_of_the_largest_normal_number():
    # The larger of two standard normal numbers has the mean 1 / sqrt(pi).
    gain = audit.gain_of_choosing([1.0, 1.0], draws=100_000, seed=0)
    assert gain == pytest.approx(np.pi**-0.5, abs=0.01)
    assert audit.gain_of_choosing([1.0], draws=10, seed=0) == 0


# --- The real tables ------------------------------------------------------------------------


def test_every_average_is_right():
    table = audit.ablations()
    is_average = table["dataset"] == "AVG"
    keys = ["part", "model", "setting"]
    printed = table[is_average].set_index(keys)["accuracy"]
    means = table[~is_average].groupby(keys)["accuracy"].mean()
    assert len(printed) == 30
    assert (printed - means).abs().max() <= 0.005 + 1e-9


def test_the_twenty_data_sets_have_8018_questions():
    sizes = audit.smallest_sizes(audit.ablations(), most=1000)
    assert len(sizes) == 20
    assert sizes["only"].all()
    assert sizes["size"].sum() == 8018


def test_table_2_against_vanilla():
    changes = audit.changes_from_vanilla(audit.stated_sizes())
    assert len(changes) == 77
    assert (changes["change"] >= 0).sum() == 69
    assert ((changes["low"] > 0).sum(), (changes["high"] < 0).sum()) == (12, 0)
    assert (changes["p_holm"] < 0.05).sum() == (changes["p"] < 0.05 / 77).sum() == 2


def test_one_change_by_hand():
    changes = audit.changes_from_vanilla(audit.stated_sizes())
    row = changes.set_index(["model", "benchmark", "variant"]).loc[
        ("Qwen-2.5-VL-7B", "MathVista", "noise")
    ]
    assert row["change"] == pytest.approx(62.9 - 63.3)
    assert row["error"] == pytest.approx(100 * (0.633 * 0.367 / 1000 + 0.629 * 0.371 / 1000) ** 0.5)
    # Four answers fewer: if no other changed, four of four went one way.
    assert row["p_least"] == pytest.approx(binomtest(0, 4).pvalue)


def test_the_modes_move_together():
    shared = audit.shifts(audit.changes_from_vanilla(audit.stated_sizes()))
    assert len(shared) == 28
    assert shared["mean"].mean() == pytest.approx(1.07, abs=0.005)
    assert (shared["mean"] > 0).sum() == 26
    # They are nearer to each other than to vanilla.
    assert shared["spread"].mean() < shared["mean"].mean() / 2


def test_the_middle_band_is_best_in_half_of_table_8():
    table = audit.variants()
    assert table.shape == (8, 5)
    assert (table.idxmax(axis=1) == "[0.3, 0.6]").sum() == 4
