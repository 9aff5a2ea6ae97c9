"""A graph in layers over an image, for readers to explore by threshold and patch.

There are too many pictures to store, one for each layer, threshold and patch:
book/_static/interactive.js makes them from the edges while the reader moves the sliders.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from matplotlib.figure import Figure
from PIL import Image

from lost_in_attention.images import rgb
from lost_in_attention.publishing import page
from lost_in_attention.publishing.interactive import STYLE, Slider, show_content

# How much of the image's brightness stays, so that lines show on it.
DIMMED = 0.6


@dataclass(frozen=True)
class LayeredGraph:
    """A graph for each layer over the patches of an image, with weighted edges.

    `layers` are tables of source, target (patches, from 0) and weight; `centres` are in pixels
    of the image, `outline` is the line around the `key` patches; an edge is shown from the
    chosen one of `thresholds` on.

    Raises ValueError for fewer than two layers or thresholds, thresholds that do not rise, or
    edges between other patches than those with a centre.
    """

    image: Image.Image
    centres: Float[np.ndarray, "patches 2"]
    key: Bool[np.ndarray, "patches"]
    outline: Sequence[tuple[tuple[float, float], tuple[float, float]]]
    layers: Sequence[pd.DataFrame]
    thresholds: Sequence[float]

    def __post_init__(self) -> None:
        if len(self.layers) < 2:
            raise ValueError(f"layers: expected two or more, got {len(self.layers)}")
        rising = all(low < high for low, high in pairwise(self.thresholds))
        if len(self.thresholds) < 2 or not rising:
            raise ValueError(f"thresholds: expected rising ones, got {list(self.thresholds)}")
        last = max(int(t[["source", "target"]].to_numpy().max(initial=0)) for t in self.layers)
        if last >= len(self.centres):
            raise ValueError(f"layers: expected patches below {len(self.centres)}, got {last}")

    def sliders(self, layer: int, threshold: float) -> list[Slider]:
        """Layer, threshold and patch, where the first position shows all patches."""
        if threshold not in self.thresholds:
            known = list(self.thresholds)
            raise ValueError(f"threshold: expected one of {known}, got {threshold!r}")
        patches = [f"{i}, key region" if key else str(i) for i, key in enumerate(self.key)]
        return [
            Slider("layer", [str(i) for i in range(len(self.layers))], layer),
            Slider(
                "threshold (attention weight)",
                [f"{t:g}" for t in self.thresholds],
                list(self.thresholds).index(threshold),
            ),
            Slider("patch", ["all", *patches]),
        ]


def show_graph(
    graph: LayeredGraph,
    name: str,
    alt: str,
    fallback: Figure,
    *,
    caption: str,
    layer: int,
    threshold: float,
) -> None:
    """Show the graph of a layer with sliders for layer, threshold and patch.

    Pointing at a patch, or choosing it with the third slider, leaves its own edges.  `layer` and
    `threshold` are shown first; `alt` and `fallback` as for `show_interactive`.

    Raises:
        ValueError: a name that is not lower_case, an empty text, or a start that the graph does
            not have.
    """
    content = {
        "layout": STYLE | _image_layout(graph.image),
        "graph": {
            "centres": np.round(graph.centres, 2).tolist(),
            "key": np.flatnonzero(graph.key).tolist(),
            "outline": np.round(np.array(graph.outline, float), 2).tolist(),
            "layers": [
                table[["source", "target", "weight"]].round(6).to_dict("list")
                for table in graph.layers
            ],
            "thresholds": list(graph.thresholds),
        },
    }
    sliders = graph.sliders(layer, threshold)
    show_content(content, name, alt, fallback, caption=caption, sliders=sliders)


def _image_layout(image: Image.Image) -> dict[str, Any]:
    """Axes in the image's pixels, one as long as the other, with the image below the graph."""
    buffer = io.BytesIO()
    rgb(image).convert("L").point(lambda shade: int(DIMMED * shade)).save(buffer, format="png")
    width, height = image.size
    hidden = {"visible": False, "fixedrange": True}
    placed = {"xref": "x", "yref": "y", "x": 0, "y": 0, "sizex": width, "sizey": height}
    return {
        "template": None,
        "images": [
            placed | {"source": page.data_uri("image/png", buffer.getvalue()), "layer": "below"}
        ],
        "xaxis": hidden | {"range": [0, width], "constrain": "domain"},
        "yaxis": hidden | {"range": [height, 0], "scaleanchor": "x", "constrain": "domain"},
        "margin": {"l": 5, "r": 5, "t": 5, "b": 5},
        "hovermode": "closest",
    }
