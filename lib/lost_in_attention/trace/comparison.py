"""Do right and wrong answers differ in their key-region degree ratio, and does size explain it?

A table of cases has one row a case: correct (bool), image_source, the ratio under any name,
key_share (the key region's share of the visual tokens) and kind (the object asked for).
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict

from lost_in_attention.statistics import Interval

FOLDS = 5


def image_bootstrap(
    cases: pd.DataFrame,
    statistic: Callable[[pd.DataFrame], float],
    *,
    resamples: int = 1000,
    seed: int,
) -> Interval:
    """A statistic of the cases with its 95% percentile interval, resampling whole images.

    Resamples in which the statistic is nan, as where no answer is wrong, are left out.  low and
    high are nan if all are, or if there are fewer than two images: one says nothing of others.

    Raises ValueError for fewer than two resamples.
    """
    if resamples < 2:
        raise ValueError(f"resamples: expected at least 2, got {resamples}")
    rows = list(cases.groupby("image_source").indices.values())
    if len(rows) < 2:
        return Interval(statistic(cases), math.nan, math.nan, len(cases))
    random = np.random.default_rng(seed)
    draws = (random.integers(len(rows), size=len(rows)) for _ in range(resamples))
    values = [statistic(cases.iloc[np.concatenate([rows[i] for i in draw])]) for draw in draws]
    known = [value for value in values if not math.isnan(value)]
    low, high = np.quantile(known, [0.025, 0.975]) if known else (math.nan, math.nan)
    return Interval(statistic(cases), float(low), float(high), len(cases))


def gap(cases: pd.DataFrame, value: str) -> float:
    """Mean of right minus mean of wrong answers; nan where either has no value."""
    values, _, correct = _known(cases, value)
    if correct.all() or not correct.any():
        return math.nan
    return float(values[correct].mean() - values[~correct].mean())


def matched_gap(cases: pd.DataFrame, value: str) -> float:
    """As `gap`, each wrong answer against the right ones whose region is nearest in size.

    Nearest by the logarithm of key_share; equally near ones are averaged.
    """
    values, share, correct = _known(cases, value)
    if correct.all() or not correct.any():
        return math.nan
    size = np.log(share)
    distance = np.abs(size[~correct][:, None] - size[correct])
    near = distance <= distance.min(axis=1, keepdims=True) + 1e-9
    partner = near @ values[correct] / near.sum(axis=1)
    return float((partner - values[~correct]).mean())


def log_odds(cases: pd.DataFrame, value: str, beside: Sequence[str] = ()) -> float:
    """Change of the log odds of a right answer for one standard deviation more of `value`.

    A logistic regression on `value` and the columns `beside` (numbers are standardised, words
    become indicators) with a ridge penalty of weight 1, which keeps rare words finite.  nan if
    all answers are right or all wrong, or if `value` does not vary.
    """
    known = cases.dropna(subset=[value])
    if known["correct"].nunique() < 2 or known[value].nunique() < 2:
        return math.nan
    features = _features(known, [value, *beside])
    return float(_model().fit(features, known["correct"]).coef_[0, 0])


def held_out_auc(cases: pd.DataFrame, columns: Sequence[str]) -> float:
    """Area under the ROC curve of that regression on images that it was not fitted to.

    Five folds of whole images; 0.5 is chance.  nan with fewer than ten right or wrong answers or
    fewer images than folds.
    """
    known = cases.dropna(subset=list(columns))
    scarce = known["correct"].value_counts().reindex([True, False], fill_value=0).min() < 10
    if scarce or known["image_source"].nunique() < FOLDS:
        return math.nan
    folds = GroupKFold(FOLDS, shuffle=True, random_state=0)
    scores = cross_val_predict(
        _model(),
        _features(known, columns),
        known["correct"],
        groups=known["image_source"],
        cv=folds,
        method="decision_function",
    )
    return float(roc_auc_score(known["correct"], scores))


def _known(cases: pd.DataFrame, value: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Value, key_share and correct of the cases that have a value."""
    values = cases[value].to_numpy(float)
    known = ~np.isnan(values)
    share, correct = cases["key_share"].to_numpy(float), cases["correct"].to_numpy(bool)
    return values[known], share[known], correct[known]


def _model() -> LogisticRegression:
    # Much faster than the default where features are few.
    return LogisticRegression(C=1.0, solver="newton-cholesky")


def _features(cases: pd.DataFrame, columns: Sequence[str]) -> Float[np.ndarray, "cases features"]:
    return np.column_stack([_feature(cases[column]) for column in columns])


def _feature(column: pd.Series) -> Float[np.ndarray, "cases features"]:
    """Numbers standardised, words as indicators."""
    if pd.api.types.is_numeric_dtype(column):
        values = column.to_numpy(float)[:, None]
        return (values - values.mean()) / (values.std() or 1)
    codes, words = pd.factorize(column)
    return (codes[:, None] == np.arange(len(words))).astype(float)
