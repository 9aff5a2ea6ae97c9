"""What a variant changes: its answers against vanilla's, question by question."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from lost_in_attention.benchmarks import BENCHMARKS
from lost_in_attention.statistics import mcnemar, mean_intervals

CELL = ("model", "benchmark", "preset", "variant")
_QUESTION = ["model", "benchmark", "sample"]


def against_vanilla(
    table: pd.DataFrame,
    *,
    by: Sequence[str] = CELL,
    reference: str = "vanilla",
    seed: int,
) -> pd.DataFrame:
    """One row a cell (the columns `by`) of a table of answers, vanilla's own cells included.

    `accuracy` (the benchmark's own), `change` (accuracy minus vanilla's) and `same` (share of
    replies equal to vanilla's, questions weighted as in the accuracy), each with its bootstrap
    interval in <name>_low and <name>_high, which resamples whole images; `n` questions; `p` of
    the exact McNemar test, which counts questions alike, and `p_holm`, corrected for all cells
    but vanilla's.  Where a cell holds several benchmarks, each weighs by its questions.  Several
    noise seeds count as one cell: its numbers are means over seeds, `p` is the largest of them,
    `seed_range` the range of their accuracies.  Another variant can stand in vanilla's place as
    the `reference`.  A column `weight` says what each question weighs, where the table is not
    all that its benchmark's accuracy is about (`seen_by_either`).

    Raises ValueError if `by` lacks the variant, or a question lacks its reference answer or has
    one twice.
    """
    by = list(by)
    if "variant" not in by:
        raise ValueError(f"by: expected the column 'variant' among them, got {by}")
    paired = _with_reference(table, reference)
    if "weight" not in paired:
        paired["weight"] = _weights(paired, by)
    pools = [column for column in ("model", "benchmark") if column in by]
    # Pools share no cell, so each has resamples of its own.
    cells = [
        _intervals(own, by, seed)
        for _, own in (paired.groupby(pools, sort=False) if pools else [((), paired)])
    ]
    found = pd.concat(cells, ignore_index=True).merge(_tests(paired, by), on=by)
    tested = found["variant"] != reference
    found.loc[tested, "p_holm"] = holm(found.loc[tested, "p"])
    return found


def seen_by_either(table: pd.DataFrame) -> pd.DataFrame:
    """The rows whose question is wrong on a blank image, and right by vanilla or the row's variant.

    On these alone can seen answers be lost or won.  The choice treats the two that are compared
    alike: exchange their answers and every change turns its sign, so that a variant that merely
    flips close decisions changes nothing on average.  (Chosen by vanilla's answers alone, any
    other run falls below it.)  It says nothing of guesses: a variant that answers as the blank
    image does is wrong here by choice, however often that is right elsewhere.  Vanilla's own
    rows stay for every question of any variant, so its own cells mean little.  The new column
    `weight` keeps what each question weighs among all of its benchmark's.

    Raises ValueError as `against_vanilla` does.
    """
    seen, own = _seen(table), table["variant"] == "vanilla"
    chosen = seen["either"] & ~own
    each = table[own].set_index(_question(table[own]).set_names([None] * len(_QUESTION)))
    weights = _weights(each, ["model", "benchmark"])
    table = table.assign(weight=_question(table).map(weights))
    return table[chosen | (own & _question(table).isin(_question(table[chosen])))]


def kept_and_returned(table: pd.DataFrame, *, by: Sequence[str] = CELL) -> pd.DataFrame:
    """How far vanilla and a variant share the answers that need the image, in both directions.

    One row a cell but vanilla's: the columns `by`; `vanilla_right` and `variant_right`, how many
    answers each has right to questions that a blank image leaves wrong (summed over noise seeds);
    `kept`, the share of vanilla's that the variant has too, and `returned`, the share of the
    variant's that vanilla has too.  Both fall below 1 where close decisions flip; only the
    difference is a net loss (`kept` below `returned`) or gain.

    Raises ValueError as `against_vanilla` does.
    """
    seen = _seen(table)
    counts = table[list(by)].assign(
        vanilla_right=seen["vanilla"], variant_right=seen["variant"], both=seen["both"]
    )
    counts = counts[table["variant"] != "vanilla"]
    found = counts.groupby(list(by), sort=False).sum().reset_index()
    kept = found["both"] / found["vanilla_right"].where(found["vanilla_right"] > 0)
    returned = found["both"] / found["variant_right"].where(found["variant_right"] > 0)
    return found.assign(kept=kept, returned=returned).drop(columns="both")


def _seen(table: pd.DataFrame) -> pd.DataFrame:
    """Row by row: which of vanilla and the row's variant are right where a blank image is wrong."""
    paired = _with_reference(table, "vanilla")
    blank = table[table["variant"] == "blank"].set_index(_QUESTION)["correct"]
    # A question that was not asked on a blank image is not known to need one.
    wrong = ~_question(table).map(blank).fillna(True).to_numpy(dtype=bool)
    vanilla = wrong & (paired["correct_reference"] == 1).to_numpy()
    variant = wrong & paired["correct"].to_numpy(dtype=bool)
    columns = {
        "vanilla": vanilla,
        "variant": variant,
        "both": vanilla & variant,
        "either": vanilla | variant,
    }
    return pd.DataFrame(columns, index=table.index)


def _question(table: pd.DataFrame) -> pd.MultiIndex:
    return pd.MultiIndex.from_frame(table[_QUESTION])


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


def _intervals(own: pd.DataFrame, by: list[str], seed: int) -> pd.DataFrame:
    values = ["accuracy", "change", "same"]
    units = list(dict.fromkeys([*by, *_QUESTION, "image"]))
    questions = own.groupby(units, sort=False)[[*values, "weight"]].mean().reset_index()
    long = mean_intervals(questions, values, by, "image", weight="weight", seed=seed)
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
