"""What a variant changes: its answers against vanilla's, question by question."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from lost_in_attention.benchmarks import BENCHMARKS
from lost_in_attention.stats import mcnemar, mean_intervals

CELL = ("model", "benchmark", "preset", "variant")
_QUESTION = ["model", "benchmark", "sample"]


def against_vanilla(
    table: pd.DataFrame,
    *,
    by: Sequence[str] = CELL,
    reference: str = "vanilla",
    seed: int,
    level: float = 0.95,
) -> pd.DataFrame:
    """One row a cell (the columns `by`) of a table of answers, vanilla's own cells included.

    `accuracy` (the benchmark's own), `change` (accuracy minus vanilla's) and `same` (share of
    replies equal to vanilla's, questions weighted as in the accuracy), each with its bootstrap
    interval in <name>_low and <name>_high, which resamples whole images; `n` questions; `p` of
    the exact McNemar test, which counts questions alike, and `p_holm`, corrected for all cells
    but vanilla's.  Where a cell holds several benchmarks, each weighs by its questions.  Several
    noise seeds count as one cell: its numbers are means over seeds, `p` is the largest of them,
    `seed_range` the range of their accuracies.  Another variant can stand in vanilla's place as
    the `reference`.

    Raises ValueError if `by` lacks the variant, or a question lacks its reference answer or has
    one twice.
    """
    by = list(by)
    if "variant" not in by:
        raise ValueError(f"by: expected the column 'variant' among them, got {by}")
    paired = _with_reference(table, reference)
    paired["weight"] = _weights(paired, by)
    pools = [column for column in ("model", "benchmark") if column in by]
    # Pools share no cell, so each has resamples of its own.
    cells = [
        _intervals(own, by, seed, level)
        for _, own in (paired.groupby(pools, sort=False) if pools else [((), paired)])
    ]
    found = pd.concat(cells, ignore_index=True).merge(_tests(paired, by), on=by)
    tested = found["variant"] != reference
    found.loc[tested, "p_holm"] = holm(found.loc[tested, "p"])
    return found


def needs_image(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the questions that vanilla answers right with the image and wrong without.

    On these alone can an intervention show that it loses what was seen.  Their vanilla accuracy
    is 1 by choice, so chance alone lets any other variant fall below it, never rise above.
    """
    right = {
        name: table.loc[table["variant"] == name].set_index(_QUESTION)["correct"]
        for name in ("vanilla", "blank")
    }
    chosen = right["vanilla"] & ~right["blank"].reindex(right["vanilla"].index, fill_value=True)
    return table[pd.MultiIndex.from_frame(table[_QUESTION]).isin(chosen[chosen].index)]


def holm(p_values: ArrayLike) -> np.ndarray:
    """Holm's step-down correction: p-values that hold for the whole family of tests."""
    p_values = np.asarray(p_values, dtype=float)
    order = p_values.argsort()
    scaled = p_values[order] * np.arange(len(p_values), 0, -1)
    corrected = np.empty_like(p_values)
    corrected[order] = np.minimum(np.maximum.accumulate(scaled), 1)
    return corrected


def _with_reference(table: pd.DataFrame, reference: str) -> pd.DataFrame:
    own = table.loc[table["variant"] == reference, [*_QUESTION, "correct", "reply"]]
    if own.duplicated(_QUESTION).any():
        raise ValueError(f"table: expected one {reference} answer to each question, got several")
    paired = table.merge(own, on=_QUESTION, how="left", suffixes=("", "_reference"))
    if lacking := int(paired["correct_reference"].isna().sum()):
        raise ValueError(
            f"table: expected a {reference} answer to each question, {lacking} rows lack it"
        )
    paired["correct_reference"] = paired["correct_reference"].astype(float)
    return paired.assign(
        accuracy=paired["correct"].astype(float),
        change=paired["correct"] - paired["correct_reference"],
        same=(paired["reply"] == paired["reply_reference"]).astype(float),
        # Two benchmarks may name different images alike.
        image=paired["benchmark"] + "/" + paired["image_source"],
    )


def _weights(paired: pd.DataFrame, by: list[str]) -> pd.Series:
    """What each answer weighs in its benchmark's accuracy, within its cell and noise seed."""
    keys = list(dict.fromkeys([*by, "model", "benchmark", "noise_seed"]))
    parts = paired.groupby(keys, dropna=False)
    weights = [BENCHMARKS[rows["benchmark"].iloc[0]].weights(rows) for _, rows in parts]
    return pd.concat(weights)


def _intervals(own: pd.DataFrame, by: list[str], seed: int, level: float) -> pd.DataFrame:
    values = ["accuracy", "change", "same"]
    units = list(dict.fromkeys([*by, *_QUESTION, "image"]))
    questions = own.groupby(units, sort=False)[[*values, "weight"]].mean().reset_index()
    long = mean_intervals(questions, values, by, "image", weight="weight", level=level, seed=seed)
    wide = long.pivot(index=by, columns="quantity", values=["mean", "low", "high"])
    columns = {name: wide["mean"][name] for name in values}
    columns |= {f"{name}_{end}": wide[end][name] for name in values for end in ("low", "high")}
    n = long[long["quantity"] == "accuracy"].set_index(by)["n"]
    return pd.DataFrame(columns | {"n": n}).reset_index()


def _tests(paired: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    rows = []
    for cell, own in paired.groupby(by, sort=False):
        seeds = [rows for _, rows in own.groupby("noise_seed")]
        tests = [mcnemar(each["accuracy"], each["correct_reference"]) for each in seeds]
        accuracies = [np.average(each["accuracy"], weights=each["weight"]) for each in seeds]
        rows.append(
            dict(zip(by, cell, strict=True))
            | {"p": max(test.p_value for test in tests), "seed_range": float(np.ptp(accuracies))}
        )
    return pd.DataFrame(rows)
