"""Interaction graphs drawn over the image that they come from (Figures 3b and 5 to 10)."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from lost_in_attention.benchmarks import Sample
from lost_in_attention.images import rgb
from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.models.patch_boxes import Box, patch_boxes
from lost_in_attention.publishing import plots
from lost_in_attention.publishing.trace_explorer import DIMMED, LayeredGraph
from lost_in_attention.trace.regions import Region

COLUMNS, PANELS = 3, 9
SIDE = plots.WIDTH / COLUMNS
EDGE, KEY = plots.OKABE_ITO[5], plots.OKABE_ITO[4]


@dataclass(frozen=True)
class Case:
    """One traced question: its image, and for each visual token its patch and whether it is key.

    `patches` is None for tokens that stand for no patch (newlines); their edges are not drawn.
    """

    image: Image.Image
    patches: Sequence[Box | None]
    region: Region

    def placed(self, edges: pd.DataFrame) -> pd.DataFrame:
        """The edges whose two ends stand for a patch."""
        has_place = np.array([patch is not None for patch in self.patches])
        return edges[has_place[edges["source"]] & has_place[edges["target"]]]

    def centres(self) -> Float[np.ndarray, "tokens 2"]:
        """x and y of the middle of each patch in pixels of the image; nan without a patch."""
        nowhere = (np.nan,) * 4
        x, y, width, height = np.array([p or nowhere for p in self.patches], dtype=float).T
        return np.stack([x + width / 2, y + height / 2], axis=1)

    def outline(self) -> list[tuple[tuple[float, float], tuple[float, float]]]:
        """The line around the key region: sides of key patches that no second one shares."""
        sides = Counter()
        for patch in (self.patches[i] for i in np.flatnonzero(self.region)):
            left, top, width, height = patch
            x, y = (round(left, 3), round(left + width, 3)), (round(top, 3), round(top + height, 3))
            sides.update([((x[0], v), (x[1], v)) for v in y])
            sides.update([((v, y[0]), (v, y[1])) for v in x])
        return [side for side, count in sides.items() if count == 1]


def case_of(vlm: VisionLanguageModel, sample: Sample, region: Region) -> Case:
    """What is needed to draw a sample with one image; the model does not run."""
    inputs = vlm.prepare([sample.image], [sample.prompt])
    [patches] = patch_boxes(vlm, inputs, [sample.image])
    return Case(sample.image, patches, region)


def layers_shown(depth: int, most: int = PANELS) -> list[int]:
    """The layers to draw of `depth`: all, or `most` evenly from the first to the last."""
    return np.linspace(0, depth - 1, min(depth, most)).round().astype(int).tolist()


def draw_graph(case: Case, edges: pd.DataFrame, ax: Axes, title: str) -> None:
    """One graph: a line an edge between patch centres, a ring a self-edge, the region outlined.

    Lines are wider the larger the weight.  The direction is not drawn: by causality the source
    is the earlier patch.
    """
    shade = np.asarray(rgb(case.image).convert("L")) * DIMMED
    extent = (0, case.image.width, case.image.height, 0)
    ax.imshow(shade, cmap="gray", vmin=0, vmax=255, extent=extent, interpolation="nearest")
    centres, edges = case.centres(), case.placed(edges)
    own = edges["source"] == edges["target"]
    between = edges[~own]
    lines = np.stack([centres[between["source"]], centres[between["target"]]], axis=1)
    ax.add_collection(
        LineCollection(lines, linewidths=0.4 + 3 * between["weight"], colors=EDGE, alpha=0.8)
    )
    ax.plot(*centres[edges["source"][own]].T, "o", ms=4, mfc="none", mec=EDGE, mew=1)
    ax.add_collection(LineCollection(case.outline(), linewidths=1.8, colors=KEY))
    ax.set_title(title, fontsize=10, pad=3)
    ax.set_axis_off()


def draw_graphs(case: Case, graphs: Sequence[tuple[str, pd.DataFrame]]) -> Figure:
    """Small multiples of titled graphs, row by row, with a legend below.

    Raises ValueError without a graph.
    """
    if not graphs:
        raise ValueError("graphs: expected at least one, got none")
    rows = -(-len(graphs) // COLUMNS)
    size = (plots.WIDTH, rows * (SIDE * case.image.height / case.image.width + 0.35) + 0.35)
    plots.use_house_style()
    fig, grid = plt.subplots(rows, COLUMNS, figsize=size, layout="constrained", squeeze=False)
    for ax in grid.flat[len(graphs) :]:
        ax.set_axis_off()
    for ax, (title, edges) in zip(grid.flat, graphs, strict=False):
        draw_graph(case, edges, ax, title)
    keys = [
        Line2D([], [], color=EDGE, label="edge"),
        Line2D([], [], color=EDGE, marker="o", mfc="none", lw=0, label="self-edge"),
        Line2D([], [], color=KEY, lw=1.8, label="key region"),
    ]
    fig.legend(handles=keys, loc="outside lower center", ncols=3, frameon=False)
    return fig


def explorable(
    case: Case, edges: pd.DataFrame, layers: int, thresholds: Sequence[float]
) -> LayeredGraph:
    """The case as an interactive figure reads it; tokens without a patch are left out."""
    centres, edges = case.centres(), case.placed(edges)
    shown = np.flatnonzero(~np.isnan(centres[:, 0]))
    number = np.zeros(len(centres), int)
    number[shown] = np.arange(len(shown))
    tables = [
        pd.DataFrame({
            "source": number[part["source"]], "target": number[part["target"]],
            "weight": part["weight"].to_numpy(),
        })
        for part in (edges[edges["layer"] == layer] for layer in range(layers))
    ]  # fmt: skip
    return LayeredGraph(
        image=case.image,
        centres=centres[shown],
        key=case.region[shown],
        outline=case.outline(),
        layers=tables,
        thresholds=thresholds,
    )
