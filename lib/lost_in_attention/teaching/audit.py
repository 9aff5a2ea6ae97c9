"""Checks for the exercises of chapter 18, the audit, on the paper's printed tables."""

from collections.abc import Callable

import pandas as pd

from lost_in_attention.publishing.paper import published
from lost_in_attention.teaching import exercise_check, require, require_close

# Numbers of questions of which no percentage lies halfway between two that can be printed.
SIZES = (7, 381, 400, 951)


@exercise_check
def check_is_whole_count(is_whole_count: Callable[[float, int], bool]) -> None:
    """Against a list of all percentages of a size, for every percentage that Table 2 prints."""
    table = published("table2_sap")
    printed = sorted(set(table[table["benchmark"] != "MathVista"]["accuracy"]))
    for size in SIZES:
        possible = {f"{100 * count / size:.2f}" for count in range(size + 1)}
        for percent in [0.0, 14.29, 57.14, 99.75, 100.0, *printed]:
            expected, got = f"{percent:.2f}" in possible, bool(is_whole_count(percent, size))
            can = "a whole count" if expected else "no whole count"
            require(got == expected, f"{percent:.2f}% of {size} questions is {can}, got {got}")


@exercise_check
def check_largest_gap(largest_gap: Callable[[pd.DataFrame], float]) -> None:
    """Rounding alone in Tables 4 and 5; a changed cell shows as a twentieth of the change."""
    table = published("tables4_5_heads")
    rounding = float(largest_gap(table))
    said = f"expected more than 0 and at most 0.005, got {rounding:.6g}"
    require(0 < rounding <= 0.005 + 1e-9, f"Tables 4 and 5 as printed: {said}")
    datasets = table.index[table["dataset"] != "AVG"]
    for change in (1.0, -1.0):
        for row in (datasets[0], datasets[33]):
            wrong = table.copy()
            wrong.loc[row, "accuracy"] += change
            got = largest_gap(wrong)
            what = f"{change:+g} in {table.loc[row, 'dataset']}, line {row}"
            require_close(what, got, 0.05, tolerance=0.005 + 1e-9)
    averages = table.index[table["dataset"] == "AVG"]
    wrong = table.copy()
    wrong.loc[averages[2], "accuracy"] -= 3
    require_close("one average 3 too low", largest_gap(wrong), 3, tolerance=0.005 + 1e-9)
