"""Tables of `measure` boiled down: one row a sample, with intervals, and the gap between modules.

Intervals resample whole images, because questions about one image share most of their tokens.
"""

from collections.abc import Sequence
from typing import Literal

import pandas as pd

from lost_in_attention.statistics import mean_intervals

# What tells a sample, and the image that its questions share.
SAMPLE = ["sample", "image_source"]


def over_layers(
    measured: pd.DataFrame,
    quantities: Sequence[str],
    by: Sequence[str],
    how: Literal["mean", "sum"] = "mean",
) -> pd.DataFrame:
    """One row a sample and group `by`: the mean (or `how`="sum") over layers, all alike.

    `depth.over_depth` weighs layers so that models of any depth can be compared.
    """
    cells = measured.groupby([*SAMPLE, *by], sort=False)[list(quantities)]
    return cells.agg(how).reset_index()


def intervals(
    per_sample: pd.DataFrame, quantities: Sequence[str], by: Sequence[str], *, seed: int
) -> pd.DataFrame:
    """Mean and 95% interval of every quantity in every group, resampling whole images."""
    return mean_intervals(per_sample, quantities, by, unit="image_source", seed=seed)


def module_gaps(
    per_sample: pd.DataFrame, quantities: Sequence[str], by: Sequence[str], *, seed: int
) -> pd.DataFrame:
    """FFN minus attention with 95% intervals, subtracted sample by sample.

    `per_sample` has a column module; the columns are those of `statistics.mean_intervals`.
    """
    index = [*SAMPLE, *by]
    modules = {
        name: rows.set_index(index)[list(quantities)] for name, rows in per_sample.groupby("module")
    }
    gaps = (modules["ffn"] - modules["attention"]).reset_index()
    return intervals(gaps, quantities, by, seed=seed)


def crowded_models(measured: pd.DataFrame) -> list[str]:
    """The models of a table of `measure` that had as many tokens as features, or more.

    There the feature space is full, so feature novelty is zero by construction and support
    innovation is token novelty alone.  In every published model it is the other way round.
    """
    crowded = measured["tokens"] >= measured["features"]
    return measured.loc[crowded, "model"].unique().tolist()


def without_forced_zeros(measured: pd.DataFrame) -> pd.DataFrame:
    """The table without the feature novelties that are zero by construction (`crowded_models`)."""
    forced = measured["tokens"] >= measured["features"]
    return measured.assign(feature_novelty=measured["feature_novelty"].mask(forced))
