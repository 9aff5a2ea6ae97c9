"""Arithmetic on the tables that the paper prints: what they add up to, what they can tell apart.

No model runs here; every number comes from data/paper (`publishing.paper`).

    sizes = stated_sizes()                       # questions a benchmark, Appendix C.1
    changes_from_vanilla(sizes)                  # Table 2: changes with errors and tests
    fitting_sizes([83.56, 90.51], most=1000)     # how many questions give such percentages
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike
from scipy.stats import norm

from lost_in_attention.evaluation.comparisons import holm
from lost_in_attention.publishing.paper import claimed, published

# Rounding is to the nearest; a half may have gone either way.
_ROUNDING = 1e-9
# Where Appendix C.1 says how many questions a benchmark of Table 2 has, by claim.
STATED = {
    "POPE": "C027",
    "RWQA": "C030",
    "3DSRBench": "C029",
    "MMMU": "C033",
    "VMCBench": "C035",
    "HallusionBench": "C038",
    "MathVista": "C037",
}


def stated_sizes() -> pd.Series:
    """Questions of each benchmark of Table 2, as Appendix C.1 states them."""
    return pd.Series({name: int(claimed(claim)) for name, claim in STATED.items()})


def ablations() -> pd.DataFrame:
    """Tables 4 to 7 as one: columns part (heads or layers), model, setting, dataset, accuracy (%).

    `setting` is the range as the paper prints it; the dataset AVG is the paper's own average.
    """
    heads, layers = published("tables4_5_heads"), published("tables6_7_layers")
    parts = {
        "heads": heads.assign(first=heads["head_min"], last=heads["head_max"]),
        "layers": layers.assign(first=layers["layer_first"], last=layers["layer_last"]),
    }
    table = pd.concat([rows.assign(part=part) for part, rows in parts.items()], ignore_index=True)
    ends = zip(table["first"], table["last"], table["part"], strict=True)
    table["setting"] = [_range(first, last, part) for first, last, part in ends]
    return table[["part", "model", "setting", "dataset", "accuracy"]]


def variants() -> pd.DataFrame:
    """Table 8: a row a variant, a column a band of heads, accuracy on VMCBench in percent."""
    table = published("table8_variants")
    ends = zip(table["head_min"], table["head_max"], strict=True)
    table["setting"] = [_range(first, last, "heads") for first, last in ends]
    table["percent"] = 100 * table["accuracy"]
    order = table["setting"].unique()
    return table.pivot(index="model", columns="setting", values="percent")[order]


def whole_counts(
    printed: ArrayLike, size: int, *, decimals: int = 2
) -> Bool[np.ndarray, " percentages"]:
    """Which percentages, printed with `decimals`, are so many whole questions out of `size`."""
    printed = np.asarray(printed, dtype=float)
    nearest = np.rint(printed * size / 100)
    return np.abs(100 * nearest / size - printed) <= 0.5 * 10.0**-decimals + _ROUNDING


def fitting_sizes(printed: ArrayLike, *, most: int) -> list[int]:
    """The numbers of questions, up to `most`, of which all these percentages (2 decimals) can be.

    Raises ValueError where `most` is below 1.
    """
    if most < 1:
        raise ValueError(f"most: expected at least 1, got {most}")
    return [size for size in range(1, most + 1) if whole_counts(printed, size).all()]


def share_by_chance(size: int, *, decimals: int = 2) -> float:
    """The share of all percentages with `decimals` that are whole questions out of `size`."""
    every = np.arange(100 * 10**decimals + 1) / 10**decimals
    return float(whole_counts(every, size, decimals=decimals).mean())


def smallest_sizes(table: pd.DataFrame, *, most: int) -> pd.DataFrame:
    """How many questions each data set of `ablations` must have had, by its printed percentages.

    Columns dataset, cells, values (how many different ones), size (the smallest that fits), only
    (whether the other sizes up to `most` are its multiples).

    Raises ValueError where no size up to `most` fits.
    """
    rows = []
    for dataset, own in table[table["dataset"] != "AVG"].groupby("dataset", sort=False):
        values = own["accuracy"].unique()
        sizes = fitting_sizes(values, most=most)
        if not sizes:
            raise ValueError(f"most: expected one that holds a size of {dataset}, got {most}")
        only = all(size % sizes[0] == 0 for size in sizes)
        rows.append((dataset, len(own), len(values), sizes[0], only))
    return pd.DataFrame(rows, columns=["dataset", "cells", "values", "size", "only"])


def standard_error(percent: ArrayLike, size: ArrayLike) -> Float[np.ndarray, " cells"]:
    """Of an accuracy in percent over so many questions, in points: 100 sqrt(p (1 - p) / n)."""
    share = np.asarray(percent, dtype=float) / 100
    return 100 * np.sqrt(share * (1 - share) / np.asarray(size))


def average_error(percent: ArrayLike, sizes: ArrayLike) -> float:
    """Of the plain mean of accuracies in percent, each over its own questions, in points."""
    each = standard_error(percent, sizes)
    return float(np.sqrt((each**2).sum()) / len(each))


def changes_from_vanilla(sizes: pd.Series) -> pd.DataFrame:
    """Table 2 as changes: a row for each model, benchmark and mode that it prints.

    Columns model, benchmark, variant, vanilla, accuracy (%), change, error, low, high (points), n,
    p, p_holm and p_least. `error` is that of two independent samples of n questions (`sizes`): the
    printed tables do not say which answers changed.  `p_least` is the smallest p-value that any
    answers with these accuracies can have in an exact McNemar test, where all that changed changed
    in one direction.
    """
    wide = published("table2_sap").pivot(
        index=["model", "benchmark"], columns="variant", values="accuracy"
    )
    table = wide.melt("vanilla", var_name="variant", value_name="accuracy", ignore_index=False)
    table = table.dropna().reset_index()
    table["n"] = table["benchmark"].map(sizes)
    table["change"] = table["accuracy"] - table["vanilla"]
    both = [standard_error(table[name], table["n"]) for name in ("vanilla", "accuracy")]
    table["error"] = np.hypot(*both)
    half = norm.isf(0.025) * table["error"]
    table["low"], table["high"] = table["change"] - half, table["change"] + half
    table["p"] = 2 * norm.sf((table["change"] / table["error"]).abs())
    table["p_holm"] = holm(table["p"])
    fewest = np.rint(table["change"].abs() * table["n"] / 100)
    table["p_least"] = np.minimum(1, 2 * 0.5**fewest)
    return table


def shifts(changes: pd.DataFrame) -> pd.DataFrame:
    """What the modes of a model on a benchmark share: mean change, and their spread, in points.

    Columns model, benchmark, mean, spread (standard deviation), modes and error (of the mean, as
    that of one mode: all are set against one vanilla run).
    """
    cells = changes.groupby(["model", "benchmark"], sort=False)
    found = cells["change"].agg(["mean", "std", "size"])
    found = found.rename(columns={"std": "spread", "size": "modes"})
    return found.assign(error=cells["error"].mean()).reset_index()


def gain_of_choosing(errors: Sequence[float], *, draws: int, seed: int) -> float:
    """How far the best of several equally good settings stands above their mean by chance.

    `errors` are the standard errors of the settings, in points; answers are taken as independent,
    so that the true gain is smaller where settings answer the same questions alike.
    """
    noise = np.random.default_rng(seed).normal(scale=errors, size=(draws, len(errors)))
    return float((noise.max(1) - noise.mean(1)).mean())


def _range(first: float, last: float, part: str) -> str:
    """A range as the paper prints it: heads by quantile, layers by index."""
    return f"[{first:.1f}, {last:.1f}]" if part == "heads" else f"[{first:.0f}, {last:.0f}]"
