"""Statements about layers that do not hang on how many layers a model has.

The first and the last layer of a decoder are unlike those between.  In a plain mean over L layers
each of them weighs 1/L: 1/8 in the book's small models, and 1/28 to 1/64 in the paper's.  So the
same curve, drawn with fewer layers between its ends, has another mean.  Here neither end ever
weighs more than 1/28; the layers between share the rest alike.  From 28 layers on this is the
plain mean.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from numpy.lib.stride_tricks import sliding_window_view

from lost_in_attention.residual.tables import SAMPLE
from lost_in_attention.statistics import resampled_means

# The paper's model with the fewest decoder layers has 28.
REFERENCE_LAYERS = 28
# With fewer layers in a range of depths the range cannot be told from the layers beside it.
LEAST_LAYERS_IN_RANGE = 3
Curve = Float[np.ndarray, " layers"]


def layer_weights(layers: int) -> Curve:
    """The weight of every layer, with the sum 1.

    Raises ValueError without layers.
    """
    if layers < 1:
        raise ValueError(f"layers: expected at least 1, got {layers}")
    if layers < 3:
        return np.full(layers, 1 / layers)
    end = 1 / max(layers, REFERENCE_LAYERS)
    weights = np.full(layers, (1 - 2 * end) / (layers - 2))
    weights[[0, -1]] = end
    return weights


def over_depth(
    measured: pd.DataFrame, quantities: Sequence[str], by: Sequence[str]
) -> pd.DataFrame:
    """One row a sample and group `by`: the mean over layers by `layer_weights`.

    Every group needs all layers of its model.  A missing value is left out, and its weight too.
    """
    keys, quantities = [*SAMPLE, *by], list(quantities)
    depths = measured.groupby(keys)["layer"].transform("max") + 1
    weights = [
        layer_weights(depth)[layer] for depth, layer in zip(depths, measured["layer"], strict=True)
    ]
    present = measured[quantities].notna().mul(weights, axis=0)
    weighted = measured[quantities].mul(weights, axis=0)
    groups = [measured[key] for key in keys]
    sums, shares = (table.groupby(groups, sort=False).sum() for table in (weighted, present))
    return (sums / shares.where(shares > 0)).reset_index()


def in_range(layers: int, low: float, high: float) -> Bool[np.ndarray, " layers"]:
    """Which layers lie between two shares of the depth; the last layer lies at 1."""
    depth = np.arange(layers) / max(layers - 1, 1)
    return (depth >= low) & (depth <= high)


def strong_layers(curve: Curve) -> Bool[np.ndarray, " layers"]:
    """Which layers are, in absolute value, among the largest quarter."""
    strength = np.abs(curve)
    larger = (strength[None] > strength[:, None]).sum(1)
    return larger + 1 <= len(curve) / 4


def first_is_strong(curve: Curve) -> bool:
    """Whether layer 0 is among the largest quarter of layers (C016)."""
    return bool(strong_layers(curve)[0])


def strong_in_range(low: float, high: float) -> Callable[[Curve], bool]:
    """Whether a layer between two shares of the depth is among the largest quarter (C017)."""
    return lambda curve: bool(strong_layers(curve)[in_range(len(curve), low, high)].any())


def ranges_with_strong(curve: Curve, width: int) -> tuple[int, int]:
    """How many ranges of `width` neighbouring layers hold one of the largest quarter, of how many.

    What `strong_in_range` says of a range means the less, the more of all ranges do so too.
    """
    held = sliding_window_view(strong_layers(curve), width).any(1)
    return int(held.sum()), len(held)


def holds_for_mean(
    rows: pd.DataFrame, quantity: str, statement: Callable[[Curve], bool], *, seed: int
) -> bool | None:
    """Whether a statement about the curve of means over samples is true beyond doubt.

    True if it is in at least 97.5% of bootstrap resamples of whole images, False if in at most
    2.5%, otherwise None; None too where there are not two images or values are missing.  `rows`
    hold one sample and layer each, all of one model and module.
    """
    wide = rows.pivot(index=SAMPLE, columns="layer", values=quantity)
    images = wide.index.get_level_values("image_source")
    if images.nunique() < 2 or wide.isna().any(axis=None):
        return None
    curves = resampled_means(wide.to_numpy(), units=images, seed=seed)
    share = np.mean([statement(curve) for curve in curves])
    return True if share >= 0.975 else False if share <= 0.025 else None


def range_answer(
    rows: pd.DataFrame, quantity: str, low: float, high: float, *, seed: int
) -> bool | None:
    """`holds_for_mean` of `strong_in_range`, open too where that could not tell the range.

    None where too few layers lie in it, and in the place of a yes where half of all ranges of as
    many layers hold a strong layer too.
    """
    curve = rows.groupby("layer")[quantity].mean().to_numpy()
    width = int(in_range(len(curve), low, high).sum())
    if width < LEAST_LAYERS_IN_RANGE:
        return None
    answer = holds_for_mean(rows, quantity, strong_in_range(low, high), seed=seed)
    held, ranges = ranges_with_strong(curve, width)
    return None if answer and 2 * held >= ranges else answer
