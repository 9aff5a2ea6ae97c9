"""House style of the book's figures, and the few drawings that several chapters share.

Attention is blue and FFN vermilion in every figure; both come from the Okabe-Ito palette,
which readers with colour-blindness can tell apart.  Lines carry their names at their ends,
and dashes tell them apart without colour.  Figures are so narrow that their words can be
read on a phone; panels stand above each other.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike
from PIL import Image

from lost_in_attention.models.shipped import PRETRAINED, subject_of

ATTENTION = "#0072B2"
FFN = "#D55E00"
OKABE_ITO = (ATTENTION, FFN, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")
# Boxes leave the colours of the two modules alone.
BOX_COLORS = OKABE_ITO[2:6]
MODULES = {
    "attention": {"label": "attention", "color": ATTENTION, "linestyle": "-", "marker": "o"},
    "ffn": {"label": "FFN", "color": FFN, "linestyle": "--", "marker": "s"},
}
# What the axis of a measured column says: a name and, in brackets, its unit or range.
QUANTITIES = {
    "rid": "RID (0 to 2)",
    "spectrum_change": "spectrum change ΔS (0 to 1)",
    "support_innovation": "support innovation ΔD (0 to 1)",
    "mixig": "MixIG (nats)",
    "tme": "TME (nats)",
    "size": "size |ΔX| / |X'| (ratio)",
    "novelty": "novelty (0 to 1)",
    "token_novelty": "token novelty (0 to 1)",
    "feature_novelty": "feature novelty (0 to 1)",
    "effective_rank": "effective rank (dimensions)",
}
WIDTH = 5.2
Box = tuple[float, float, float, float]


def use_house_style() -> None:
    """Set the theme for all figures that follow."""
    sizes = {"font.size": 11, "axes.labelsize": 11, "axes.titlesize": 11}
    sizes |= {"xtick.labelsize": 10, "ytick.labelsize": 10, "legend.fontsize": 10}
    lines = {"lines.linewidth": 1.8, "lines.markersize": 4, "axes.spines.top": False}
    # The salt keeps the ids inside an SVG equal from run to run.
    files = {"axes.spines.right": False, "svg.hashsalt": "lost-in-attention"}
    sns.set_theme(style="ticks", font="DejaVu Sans", palette=OKABE_ITO, rc=sizes | lines | files)


def panels(count: int, *, row_height: float = 2.4) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels, one above the other, each `row_height` inches high.

    Raises:
        ValueError: `count` below 1.
    """
    if count < 1:
        raise ValueError(f"count: expected at least 1, got {count}")
    use_house_style()
    size = (WIDTH, count * row_height)
    fig, grid = plt.subplots(count, 1, figsize=size, layout="constrained", squeeze=False)
    return fig, list(grid.flat)


def axis_label(value: str) -> str:
    """The name and unit of a measured column; a column without an entry is named as it is."""
    return QUANTITIES.get(value, value.replace("_", " "))


def module_curves(table: pd.DataFrame, value: str) -> dict[str, pd.DataFrame]:
    """The rows of `value` for attention and FFN, each sorted by layer, without missing means.

    `table` is tidy, as `statistics.mean_intervals` makes it: columns layer, module (attention or
    ffn), mean, low, high and quantity.

    Raises:
        ValueError: a column is missing, or the table holds nothing for `value`.
    """
    wanted = {"layer", "module", "quantity", "mean", "low", "high"}
    if missing := sorted(wanted - set(table.columns)):
        raise ValueError(f"table: expected the columns {missing} too, got {list(table.columns)}")
    rows = table[table["quantity"] == value].dropna(subset="mean")
    curves = {name: rows[rows["module"] == name].sort_values("layer") for name in MODULES}
    curves = {name: curve for name, curve in curves.items() if len(curve)}
    if not curves:
        known = sorted(table["quantity"].unique())
        raise ValueError(f"table: expected attention or ffn rows for {value!r}, got {known}")
    for name, curve in curves.items():
        if curve["layer"].duplicated().any():
            raise ValueError(f"table: expected one {value!r} row a layer for {name}, got several")
    return curves


def layer_curves(table: pd.DataFrame, value: str, ax: Axes, *, x: str = "layer") -> None:
    """Draw mean and interval band of `value` at every layer for attention and FFN.

    `x` is "layer" (index) or "depth" (percent of the last layer's index, for models of
    different depth).  Compare Figure 3 of the paper.

    Raises:
        ValueError: an unknown `x`, and what `module_curves` raises.
    """
    if x not in ("layer", "depth"):
        raise ValueError(f'x: expected "layer" or "depth", got {x!r}')
    curves = module_curves(table, value)
    for name, curve in curves.items():
        look, across = MODULES[name], _across(curve["layer"].to_numpy(float), x)
        band(ax, across, curve, look)
    _label_ends(ax, curves, x)
    ax.set_xlabel("layer (index)" if x == "layer" else "depth (% of layers)")
    ax.set_ylabel(axis_label(value))
    if x == "layer":
        whole_numbers(ax)


def band(ax: Axes, x: ArrayLike, rows: pd.DataFrame, look: Mapping[str, Any]) -> None:
    """Draw the column mean of `rows` over `x`, and a band from low to high in its colour.

    `look` is what `Axes.plot` takes, its colour among it.
    """
    ax.plot(x, rows["mean"], **look)
    ax.fill_between(x, rows["low"], rows["high"], color=look["color"], alpha=0.2, lw=0)


def whole_numbers(ax: Axes) -> None:
    """Let the ticks of the x-axis fall on whole numbers: there is no half layer."""
    ax.xaxis.get_major_locator().set_params(integer=True)


def legend_below(fig: Figure, ax: Axes, *, columns: int) -> None:
    """Name below the figure, once, what the panel `ax` and those like it show."""
    fig.legend(
        *ax.get_legend_handles_labels(), ncols=columns, loc="outside lower center", frameon=False
    )


def model_looks(names: Sequence[str]) -> dict[str, dict[str, str]]:
    """A marker and a colour a model, away from those of the two modules; they repeat after six.

    Those with a pretrained decoder come first: black stars, and a black cross for a second.

    Raises what `subject_of` does.
    """
    first = [name for name in names if subject_of(name) == PRETRAINED]
    others = [name for name in names if name not in first]
    colors = [*OKABE_ITO[2:6], "0.35", "0.6"]
    looks = {name: {"marker": "*X"[i % 2], "color": "black"} for i, name in enumerate(first)}
    return looks | {
        name: {"marker": "osD^vP"[i % 6], "color": colors[i % 6]} for i, name in enumerate(others)
    }


def scene(
    image: Image.Image,
    ax: Axes,
    *,
    boxes: Sequence[tuple[str, Box]] = (),
    caption: str = "",
) -> None:
    """Draw an image with labelled boxes (x, y, width, height in pixels, as COCO has them).

    Raises:
        ValueError: a box does not lie inside the image.
    """
    ax.imshow(np.asarray(image), cmap="gray", interpolation="nearest")
    for index, (label, (left, top, width, height)) in enumerate(boxes):
        inside = 0 <= left <= left + width <= image.width and 0 <= top <= top + height
        if not inside or top + height > image.height:
            size = f"the {image.width} x {image.height} image"
            found = (left, top, width, height)
            raise ValueError(f"box {index} {label!r}: expected it inside {size}, got {found}")
        color = BOX_COLORS[index % len(BOX_COLORS)]
        ax.add_patch(Rectangle((left - 0.5, top - 0.5), width, height, fill=False, ec=color, lw=2))
        ax.annotate(
            label,
            (left, top - 1),
            color="black",
            fontsize=10,
            va="bottom",
            bbox={"facecolor": color, "edgecolor": "none", "pad": 1.5},
        )
    ax.set_axis_off()
    ax.set_title(caption, wrap=True)


def _across(layers: np.ndarray, x: str) -> np.ndarray:
    return layers if x == "layer" else 100 * layers / max(layers.max(), 1)


def _label_ends(ax: Axes, curves: dict[str, pd.DataFrame], x: str) -> None:
    """Name each line at its right end; of two, the higher is named above and the lower below."""
    order = sorted(curves, key=lambda name: curves[name]["mean"].iloc[-1], reverse=True)
    alignments = ("bottom", "top") if len(order) == 2 else ("center",)
    for name, alignment in zip(order, alignments, strict=True):
        curve = curves[name]
        end = _across(curve["layer"].to_numpy(float), x)[-1], curve["mean"].iloc[-1]
        ax.annotate(
            MODULES[name]["label"],
            end,
            xytext=(6, 0),
            textcoords="offset points",
            color=MODULES[name]["color"],
            va=alignment,
            annotation_clip=False,
        )
