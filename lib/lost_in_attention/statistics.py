"""Intervals and tests for means of samples, shares of successes and paired answers.

Questions about one image are not independent, so the bootstrap resamples whole
*units*: a sample where each stands alone, an image where several share it.  One
resample draws as many units as there are, with replacement; the mean of a resample
is the mean of all observations of the units drawn (a ratio of sums, because units
may hold different numbers of observations).  Observations may have weights that are
known beforehand, and then so has that mean.  Intervals are percentile intervals.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from numpy.typing import ArrayLike
from scipy.stats import binomtest

RESAMPLES = 2000
# The share of resamples that an interval holds.
LEVEL = 0.95


class Interval(NamedTuple):
    """An estimate with its confidence interval; `n` counts the observations."""

    mean: float
    low: float
    high: float
    n: int


class PairedTest(NamedTuple):
    """Questions that only the first and only the second answered right, and the p-value."""

    only_first: int
    only_second: int
    p_value: float


def mean_interval(
    values: ArrayLike,
    *,
    units: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    resamples: int = RESAMPLES,
    seed: int,
) -> Interval:
    """Bootstrap interval of the mean of `values`, resampling whole `units` (default: each value).

    `weights` (default: all alike) are those of the values in the mean.

    Raises:
        ValueError: fewer than two units, values or weights that are not finite, weights that are
            not positive, lengths that differ.
    """
    values = _vector(values, "values")
    weights = np.ones(len(values)) if weights is None else _weights(weights, len(values))
    units = np.arange(len(values)) if units is None else np.asarray(units)
    if units.shape != values.shape:
        raise ValueError(f"units: expected one a value, {len(values)}, got shape {units.shape}")
    codes, names = pd.factorize(units)
    if (codes < 0).any():
        missing = int((codes < 0).sum())
        raise ValueError(f"units: expected a name for every value, got {missing} missing")
    if len(names) < 2:
        raise ValueError(f"values: expected those of at least 2 units, got {len(names)}")
    sums = np.bincount(codes, weights=values * weights)[:, None]
    totals = np.bincount(codes, weights=weights)[:, None]
    low, high = _bootstrap(sums, totals, resamples, seed)
    mean = float(np.average(values, weights=weights))
    return Interval(mean, float(low[0]), float(high[0]), len(values))


def mean_intervals(
    table: pd.DataFrame,
    value_columns: Sequence[str],
    by: Sequence[str],
    unit: str = "sample",
    *,
    weight: str | None = None,
    resamples: int = RESAMPLES,
    seed: int,
) -> pd.DataFrame:
    """Mean and bootstrap interval of every value column in every group, as a tidy table.

    One row per group and value column: the columns `by`, then `quantity`, `mean`, `low`,
    `high`, `n` (observations) and `units`.  All groups share the same resamples, so that
    curves over layers move together as they would on another draw of units.  A missing value
    (the novelty of a zero update has no direction) is left out of the mean and of `n`.  A
    group with fewer than two units has no interval: its `low` and `high` are NaN.  The column
    `weight` holds what each row weighs in the mean (default: all alike).

    Raises:
        ValueError: columns that are not in the table, an empty table, missing units, infinities,
            weights that are not positive.
    """
    value_columns, by = list(value_columns), list(by)
    _check_columns(table, [*by, unit, *value_columns, *([weight] if weight else [])])
    if missing := int(table[[*by, unit]].isna().to_numpy().sum()):
        raise ValueError(f"table: expected no missing value in {[*by, unit]}, got {missing}")
    if infinite := int(np.isinf(table[value_columns].to_numpy(dtype=float)).sum()):
        raise ValueError(f"table: expected no infinity in {value_columns}, got {infinite}")
    weights = _weights(table[weight], len(table)) if weight else np.ones(len(table))
    sums, totals, counts = _sums(table.assign(_weight=weights), value_columns, by, unit)
    low, high = _bootstrap(sums.to_numpy(), totals.to_numpy(), resamples, seed)
    total, units = totals.sum(), (counts > 0).sum()
    rows = pd.DataFrame(
        {
            "mean": sums.sum() / total.where(total > 0),
            "low": np.where(units > 1, low, np.nan),
            "high": np.where(units > 1, high, np.nan),
            "n": counts.sum(),
            "units": units,
        }
    )
    return rows.reset_index().sort_values(["quantity", *by], ignore_index=True)


def _sums(
    table: pd.DataFrame, value_columns: list[str], by: list[str], unit: str
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Of every unit (row) and group: weighted sum, total weight and number of the values."""
    long = table.melt([*by, unit, "_weight"], value_columns, "quantity", "value")
    long = long.assign(
        sum=long["value"] * long["_weight"], total=long["_weight"].where(long["value"].notna())
    )
    cells = long.groupby([unit, *by, "quantity"], sort=False, observed=True)
    found = cells.agg({"sum": "sum", "total": "sum", "value": "count"})
    wide = found.unstack([*by, "quantity"], fill_value=0)
    columns = wide["sum"].columns
    return wide["sum"].astype(float), wide["total"][columns].astype(float), wide["value"][columns]


def resampled_means(
    values: Float[np.ndarray, "observations columns"],
    *,
    units: ArrayLike,
    resamples: int = RESAMPLES,
    seed: int,
) -> Float[np.ndarray, "resamples columns"]:
    """Column means of every bootstrap resample of whole `units`, for what no single mean says.

    Raises:
        ValueError: fewer than two units, values that are not finite, lengths that differ.
    """
    values = np.asarray(values, dtype=float)
    if not np.isfinite(values).all():
        strange = int((~np.isfinite(values)).sum())
        raise ValueError(f"values: expected finite numbers, got {strange} NaN/inf")
    codes, names = pd.factorize(np.asarray(units))
    if len(codes) != len(values):
        raise ValueError(f"units: expected one a row, {len(values)}, got {len(codes)}")
    if len(names) < 2:
        raise ValueError(f"values: expected those of at least 2 units, got {len(names)}")
    sums = np.zeros((len(names), values.shape[1]))
    np.add.at(sums, codes, values)
    draws = _draws(len(names), resamples, seed)
    return draws @ sums / (draws @ np.bincount(codes))[:, None]


def mcnemar(a: ArrayLike, b: ArrayLike) -> PairedTest:
    """Exact McNemar test: are the questions on which only one is right split evenly?

    `a` and `b` hold 1 (right) or 0 (wrong) for the same questions in one order.  Without any
    such question there is no evidence and the p-value is 1.

    Raises:
        ValueError: `a` and `b` differ in length, or hold other values than 0 and 1.
    """
    a, b = _pair(a, b)
    for name, answers in (("a", a), ("b", b)):
        if not np.isin(answers, (0, 1)).all():
            raise ValueError(f"{name}: expected only 0 and 1, got {sorted(set(answers))[:5]}")
    only_a, only_b = int((a > b).sum()), int((b > a).sum())
    discordant = only_a + only_b
    p_value = binomtest(only_a, discordant).pvalue if discordant else 1.0
    return PairedTest(only_a, only_b, float(p_value))


def _bootstrap(
    sums: Float[np.ndarray, "units groups"],
    counts: Float[np.ndarray, "units groups"],
    resamples: int,
    seed: int,
) -> tuple[Float[np.ndarray, " groups"], Float[np.ndarray, " groups"]]:
    """Percentile interval of the mean of every group over shared resamples of the units."""
    if resamples < 1:
        raise ValueError(f"resamples: expected at least 1, got {resamples}")
    draws = _draws(len(sums), resamples, seed)
    totals = draws @ counts
    # A resample that drew no unit of a group says nothing about that group's mean.
    means = np.divide(draws @ sums, totals, out=np.full_like(totals, np.nan), where=totals > 0)
    tail = (1 - LEVEL) / 2
    measured = np.isfinite(means).any(axis=0)
    bounds = np.full((2, means.shape[1]), np.nan)
    bounds[:, measured] = np.nanquantile(means[:, measured], [tail, 1 - tail], axis=0)
    return bounds[0], bounds[1]


# Tables of one page hold the same units again and again.
@lru_cache(maxsize=8)
def _draws(units: int, resamples: int, seed: int) -> Int[np.ndarray, "resamples units"]:
    """How often each resample drew each unit; not to be written to."""
    random = np.random.default_rng(seed)
    draws = random.multinomial(units, np.full(units, 1 / units), size=resamples)
    draws.flags.writeable = False
    return draws


def _vector(values: ArrayLike, name: str) -> Float[np.ndarray, " values"]:
    vector = np.asarray(values, dtype=float)
    if vector.ndim != 1 or not len(vector):
        raise ValueError(f"{name}: expected a non-empty list of numbers, got shape {vector.shape}")
    if not np.isfinite(vector).all():
        strange = int((~np.isfinite(vector)).sum())
        raise ValueError(f"{name}: expected finite numbers, got {strange} NaN/inf")
    return vector


def _weights(weights: ArrayLike, count: int) -> Float[np.ndarray, " values"]:
    weights = _vector(weights, "weights")
    if len(weights) != count or (weights <= 0).any():
        raise ValueError(
            f"weights: expected {count} positive numbers, "
            f"got {len(weights)}, least {weights.min():g}"
        )
    return weights


def _pair(a: ArrayLike, b: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    a, b = _vector(a, "a"), _vector(b, "b")
    if len(a) != len(b):
        raise ValueError(f"a and b: expected the same questions, got {len(a)} and {len(b)}")
    return a, b


def _check_columns(table: pd.DataFrame, wanted: Sequence[str]) -> None:
    missing = [column for column in wanted if column not in table.columns]
    if missing:
        raise ValueError(f"table: expected the columns {missing} too, got {list(table.columns)}")
    if table.empty:
        raise ValueError("table: expected at least one row, got none")
