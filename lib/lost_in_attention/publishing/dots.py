"""Shares of answers with their intervals, side by side for every benchmark; a panel a model."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lost_in_attention.publishing import plots

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


def dots_by_model(
    cells: pd.DataFrame,
    models: Sequence[str],
    value: str,
    *,
    series: str,
    looks: Mapping[str, tuple[str, str]],
    across: str,
    order: Sequence[str] | None = None,
    ylabel: str,
    row_height: float,
    columns: int,
) -> tuple[Figure, list[Axes]]:
    """`dots` of each of `models`, a panel of `row_height` inches each, with a line at no change.

    Without an `order` every panel has the places of its own rows, sorted.  The legend below has so
    many `columns`.

    Raises ValueError as `dots` does.
    """
    fig, axes = plots.panels(len(models), row_height=row_height)
    for ax, model in zip(axes, models, strict=True):
        own = cells[cells["model"] == model]
        places = sorted(own[across].unique()) if order is None else order
        dots(ax, own, value, series=series, looks=looks, across=across, order=places)
        ax.axhline(0, color="0.6", lw=1, zorder=0)
        ax.set_title(model, loc="left")
        if order is not None:
            ax.label_outer()
    fig.supylabel(ylabel, fontsize=11)
    plots.legend_below(fig, axes[0], columns=columns)
    return fig, axes
