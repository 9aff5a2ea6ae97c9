"""Intervals and tests against closed forms, and the resampling of whole units."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lost_in_attention import statistics as stats


def test_mean_interval_agrees_with_the_normal_approximation():
    values = np.random.default_rng(0).normal(3.0, 2.0, size=2000)
    interval = stats.mean_interval(values, resamples=4000, seed=1)
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert interval.mean == pytest.approx(values.mean(), abs=1e-12)
    assert interval.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_repeated_questions_of_one_image_do_not_narrow_the_interval():
    per_image = np.random.default_rng(0).normal(size=50)
    images = np.repeat(np.arange(50), 8)
    alone = stats.mean_interval(per_image, seed=3)
    clustered = stats.mean_interval(np.repeat(per_image, 8), units=images, seed=3)
    as_if_independent = stats.mean_interval(np.repeat(per_image, 8), seed=3)
    assert clustered[:3] == pytest.approx(alone[:3], abs=1e-12)
    narrow = as_if_independent.high - as_if_independent.low
    assert narrow < 0.6 * (clustered.high - clustered.low)


@settings(deadline=None, derandomize=True, max_examples=30)
@given(
    st.lists(st.floats(-100, 100), min_size=2, max_size=20),
    st.floats(-10, 10),
    st.floats(0.1, 10),
)
def test_interval_moves_with_shift_and_scale(values, shift, scale):
    values = np.array(values)
    interval = stats.mean_interval(values, resamples=200, seed=0)
    moved = stats.mean_interval(shift + scale * values, resamples=200, seed=0)
    expected = [shift + scale * bound for bound in interval[:3]]
    assert moved[:3] == pytest.approx(expected, abs=1e-7)
    assert interval.low <= interval.high


def tidy_table():
    draw = np.random.default_rng(0)
    return pd.DataFrame(
        {"sample": sample, "layer": layer, "module": module, "rid": draw.normal(layer)}
        for sample in range(20)
        for layer in range(3)
        for module in ("attention", "ffn")
    )


def test_mean_intervals_of_a_group_is_its_mean_interval():
    table = tidy_table()
    result = stats.mean_intervals(table, ["rid"], ["layer", "module"], seed=5)
    assert list(result.columns) == [
        "layer", "module", "quantity", "mean", "low", "high", "n", "units",
    ]  # fmt: skip
    assert len(result) == 6
    for row in result.itertuples():
        chosen = (table["layer"] == row.layer) & (table["module"] == row.module)
        alone = stats.mean_interval(table.loc[chosen, "rid"], seed=5)
        assert (row.mean, row.low, row.high, row.n) == pytest.approx(alone, abs=1e-12)


def test_a_weight_is_as_good_as_a_repetition():
    random = np.random.default_rng(0)
    values, units = random.random(30), np.arange(30) // 3
    weights = random.integers(1, 4, 30)
    weighted = stats.mean_interval(values, units=units, weights=weights, seed=0)
    repeated = stats.mean_interval(values.repeat(weights), units=units.repeat(weights), seed=0)
    assert weighted[:3] == pytest.approx(repeated[:3]) and weighted.n == 30
    table = pd.DataFrame({"score": values, "unit": units, "group": "a", "weight": weights})
    row = stats.mean_intervals(table, ["score"], ["group"], "unit", weight="weight", seed=0).iloc[0]
    assert row[["mean", "low", "high"]].tolist() == pytest.approx(weighted[:3]) and row["n"] == 30
    plain = stats.mean_intervals(table, ["score"], ["group"], "unit", seed=0).iloc[0]
    alike = stats.mean_interval(values, units=units, weights=np.full(30, 2.5), seed=0)
    assert plain[["mean", "low", "high"]].tolist() == pytest.approx(alike[:3])
    assert plain["mean"] != pytest.approx(row["mean"])


def test_missing_values_leave_the_mean_and_the_count():
    table = tidy_table()
    table.loc[(table["layer"] == 0) & (table["sample"] > 0), "rid"] = np.nan
    result = stats.mean_intervals(table, ["rid"], ["layer"], seed=5).set_index("layer")
    kept = table[(table["layer"] == 0) & (table["sample"] == 0)]["rid"]
    assert result.loc[0, "mean"] == pytest.approx(kept.mean())
    assert (result.loc[0, "n"], result.loc[0, "units"]) == (2, 1)
    assert np.isnan(result.loc[0, ["low", "high"]].to_numpy(float)).all()
    assert np.isfinite(result.loc[1, ["low", "high"]].to_numpy(float)).all()


def test_mcnemar_counts_only_the_questions_that_differ():
    a, b = [1] * 6 + [1, 0] * 10, [0] * 6 + [1, 0] * 10
    assert stats.mcnemar(a, b) == (6, 0, pytest.approx(2 * 0.5**6))
    assert stats.mcnemar(b, a) == (0, 6, pytest.approx(2 * 0.5**6))
    assert stats.mcnemar(a, a) == (0, 0, 1.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stats.mean_interval([1.0], seed=0), "at least 2 units, got 1"),
        (lambda: stats.mean_interval([], seed=0), "values: expected a non-empty"),
        (lambda: stats.mean_interval([1.0, np.nan], seed=0), "values: expected finite"),
        (
            lambda: stats.mean_interval([1.0, 2.0], units=[1], seed=0),
            "one a value, 2, got",
        ),
        (
            lambda: stats.mean_interval([1.0, 2.0], units=[1, None], seed=0),
            "name .* got 1 missing",
        ),
        (lambda: stats.mean_interval([1, 2], weights=[1], seed=0), "weights: expected 2 positive"),
        (lambda: stats.mean_interval([1, 2], weights=[1, 0], seed=0), "weights: .* least 0"),
        (lambda: stats.mean_interval([1.0, 2.0], resamples=0, seed=0), "resamples: expected"),
        (lambda: stats.mcnemar([1, 0], [1]), "same questions, got 2 and 1"),
        (lambda: stats.mcnemar([0.5, 1], [0, 1]), "a: expected only 0 and 1"),
        (
            lambda: stats.mean_intervals(tidy_table(), ["tme"], ["layer"], seed=0),
            r"table: expected the columns \['tme'\] too",
        ),
        (
            lambda: stats.mean_intervals(tidy_table()[:0], ["rid"], ["layer"], seed=0),
            "at least one row",
        ),
        (
            lambda: stats.mean_intervals(
                tidy_table().assign(rid=np.inf), ["rid"], ["layer"], seed=0
            ),
            "no infinity in .* got 120",
        ),
        (
            lambda: stats.mean_intervals(
                tidy_table().assign(sample=None), ["rid"], ["layer"], seed=0
            ),
            "no missing value in .* got 120",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_resampled_means_are_those_of_the_interval():
    """Column by column the quantiles of the resampled means are the bootstrap interval."""
    random = np.random.default_rng(3)
    values, units = random.normal(size=(30, 2)), np.repeat(np.arange(10), 3)
    found = stats.resampled_means(values, units=units, seed=5)
    assert found.shape == (2000, 2)
    for column in range(2):
        wanted = stats.mean_interval(values[:, column], units=units, seed=5)
        low, high = np.quantile(found[:, column], [0.025, 0.975])
        assert (low, high) == pytest.approx((wanted.low, wanted.high))


@pytest.mark.parametrize(
    ("values", "units", "message"),
    [
        ([[1.0], [np.nan]], [0, 1], "values: expected finite numbers, got 1"),
        ([[1.0], [2.0]], [0], "units: expected one a row, 2, got 1"),
        ([[1.0], [2.0]], [0, 0], "at least 2 units, got 1"),
    ],
)
def test_resampled_means_refuse_what_has_no_spread(values, units, message):
    with pytest.raises(ValueError, match=message):
        stats.resampled_means(np.array(values), units=units, seed=0)
