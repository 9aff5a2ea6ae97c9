"""Differences with their intervals: a line a row, and on it a mark a series."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

# The part of a row's height that its marks spread over.
_SPREAD = 0.7


def forest(
    ax: Axes,
    table: pd.DataFrame,
    *,
    row: str,
    order: Sequence[str],
    series: str,
    looks: Mapping[str, Mapping[str, str]],
    border: float = 0,
) -> None:
    """Draw the column mean of `table` with its interval (low, high), from the top down in `order`.

    The columns `row` and `series` say where a mark stands and which of `looks` (marker, colour and
    perhaps a label) it has; `border` is where a difference would be none.

    Raises ValueError if a series has two marks in one row.
    """
    for number, (name, look) in enumerate(looks.items()):
        own = table[table[series] == name].set_index(row)
        if own.index.duplicated().any():
            raise ValueError(f"table: expected one mark a row for {series} {name!r}, got more")
        own = own.reindex(order)
        height = np.arange(len(order)) + _SPREAD * ((number + 0.5) / len(looks) - 0.5)
        bars = [own["mean"] - own["low"], own["high"] - own["mean"]]
        ax.errorbar(own["mean"], height, xerr=bars, ls="", ms=5, lw=1, **{"label": name} | look)
    ax.axvline(border, color="0.6", lw=1, zorder=0)
    for number in range(1, len(order)):
        ax.axhline(number - 0.5, color="0.9", lw=0.8, zorder=0)
    ax.set_yticks(range(len(order)), order)
    ax.set_ylim(len(order) - 0.5, -0.5)
