"""Shares of answers with their intervals, side by side for every benchmark."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

_STEP = 0.14


def dots(
    ax: Axes,
    cells: pd.DataFrame,
    value: str,
    *,
    series: str,
    looks: Mapping[str, tuple[str, str]],
    across: str,
    order: Sequence[str],
) -> None:
    """Draw `value` of `cells` in percent with its interval (<value>_low, <value>_high).

    Each entry of `looks` (marker, colour) is one series of marks, the rows whose column `series`
    has that name; they stand at their value of the column `across`, in the given order.

    Raises ValueError if a series has two rows at one place.
    """
    for number, (name, (marker, color)) in enumerate(looks.items()):
        own = cells[cells[series] == name].set_index(across)
        if own.index.duplicated().any():
            raise ValueError(f"cells: expected one row a place for {series} {name!r}, got more")
        own = own.loc[[place for place in order if place in own.index]]
        shift = _STEP * (number - (len(looks) - 1) / 2)
        x = [order.index(place) + shift for place in own.index]
        middle, low, high = (100 * own[f"{value}{end}"] for end in ("", "_low", "_high"))
        # Noise seeds are averaged: rounding can leave a bound on the wrong side of the mean.
        error = np.maximum([middle - low, high - middle], 0)
        ax.errorbar(x, middle, yerr=error, fmt=marker, color=color, ms=4, lw=1, label=name)
    ax.set_xticks(range(len(order)), order, rotation=30, ha="right")
    ax.set_xlim(-0.5, len(order) - 0.5)
