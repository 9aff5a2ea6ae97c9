"""Figures that a reader moves without a kernel, offline and by keyboard.

    show_interactive(figure, "spectrum", alt, fallback, caption="...", sliders=[
        Slider("decay of the spectrum", ["0.0", "0.1", ...]),
    ])

`figure` is a Plotly figure with one frame for each combination of slider positions, in the order
of `itertools.product`; a frame's name is the sentence that is read out when it is shown.  The
page gets the frames as JSON, native HTML sliders, and a still image that stays where scripts do
not run.  book/_static/interactive.js draws; `setup` makes Sphinx serve Plotly's script from the
installed package, so no page loads it from elsewhere and none without a figure loads it at all.

Plotly's own 3-D scenes need WebGL and a mouse.  `seen_from` projects points instead, and the
angle of view becomes a slider.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import plotly
import plotly.graph_objects as go
from jaxtyping import Float
from matplotlib.figure import Figure

from lost_in_attention.publishing import page

HEIGHT = 360
PNG_DPI = 150
STYLE = {
    "template": "simple_white",
    "dragmode": False,
    "font": {"size": 14},
    "margin": {"l": 55, "r": 15, "t": 30, "b": 50},
    "height": HEIGHT,
    "showlegend": False,
}


@dataclass(frozen=True)
class Slider:
    """One slider: what it changes (with its unit), the words for its positions, the first shown.

    Raises ValueError for fewer than two positions or a start that is none of them.
    """

    label: str
    positions: Sequence[str]
    start: int = 0

    def __post_init__(self) -> None:
        if len(self.positions) < 2:
            raise ValueError(f"positions: expected two or more, got {list(self.positions)}")
        if not 0 <= self.start < len(self.positions):
            last = len(self.positions) - 1
            raise ValueError(f"start: expected an index from 0 to {last}, got {self.start}")


def show_interactive(
    figure: go.Figure,
    name: str,
    alt: str,
    fallback: Figure,
    *,
    caption: str,
    sliders: Sequence[Slider],
) -> None:
    """Show a Plotly figure whose sliders choose its frames, with a still image in its place.

    `alt` says in words what the figure shows; `fallback` is the matplotlib figure that readers
    without scripts see (it is closed).  Frames hold `data` in full, and `layout` where it changes.

    Raises:
        ValueError: a name that is not lower_case, an empty text, or a number of frames that is
            not the product of the numbers of positions.
    """
    _check_frames(figure, name, sliders)
    show_content(_content(figure), name, alt, fallback, caption=caption, sliders=sliders)


def show_content(
    content: dict[str, Any],
    name: str,
    alt: str,
    fallback: Figure,
    *,
    caption: str,
    sliders: Sequence[Slider],
) -> None:
    """Show what interactive.js draws from `content` (JSON), with a still image in its place.

    Raises ValueError for a name that is not lower_case or an empty text.
    """
    page.check_name("name", name)
    page.check_texts(name, {"alt": alt, "caption": caption})
    positions = [asdict(slider) | {"positions": list(slider.positions)} for slider in sliders]
    html = _html(
        content | {"sliders": positions},
        name,
        alt,
        caption,
        page.rendered(fallback, "png", dpi=PNG_DPI),
    )
    plt.close(fallback)
    page.show(html, alt)


def seen_from(
    points: Float[np.ndarray, "*points 3"], azimuth: float, elevation: float = 20.0
) -> Float[np.ndarray, "*points 2"]:
    """Orthographic picture of points in space (z up), seen from the given angles in degrees."""
    turn, tilt = math.radians(azimuth), math.radians(elevation)
    right = np.array([-math.sin(turn), math.cos(turn), 0.0])
    up = np.array(
        [-math.sin(tilt) * math.cos(turn), -math.sin(tilt) * math.sin(turn), math.cos(tilt)]
    )
    return np.asarray(points, dtype=float) @ np.stack([right, up], axis=1)


def setup(app: Any) -> dict[str, Any]:
    """Sphinx extension: copy Plotly's script, about 5 MB, to _static (as a file, not a tag)."""
    script = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
    app.connect("config-inited", lambda _, config: config.html_static_path.append(str(script)))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _check_frames(figure: go.Figure, name: str, sliders: Sequence[Slider]) -> None:
    expected = math.prod(len(slider.positions) for slider in sliders)
    if not sliders or len(figure.frames) != expected:
        sizes = " x ".join(str(len(slider.positions)) for slider in sliders) or "no slider"
        raise ValueError(
            f"frames of figure {name!r}: expected one for each combination of slider "
            f"positions ({sizes}), got {len(figure.frames)}"
        )
    if unnamed := sum(not frame.name for frame in figure.frames):
        raise ValueError(
            f"frames of figure {name!r}: expected names to read out, got {unnamed} without one"
        )


def _content(figure: go.Figure) -> dict[str, Any]:
    # Plotly fills in its own template, which would hide that of the house.
    own = {key: value for key, value in figure.layout.to_plotly_json().items() if key != "template"}
    styled = go.Figure(figure).update_layout(STYLE).update_layout(own)
    spec = json.loads(styled.to_json())
    frames = [
        {"name": frame["name"], "data": frame["data"], "layout": frame.get("layout", {})}
        for frame in spec["frames"]
    ]
    return {"layout": spec["layout"], "frames": frames}


def _html(content: dict[str, Any], name: str, alt: str, caption: str, png: bytes) -> str:
    # "<" as an escape, so that no text can end the script element.
    data = json.dumps(content, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
    source = page.data_uri("image/png", png)
    image = f'<img src="{source}" alt="{escape(alt)}" style="max-width:100%;height:auto">'
    script = f'<script type="application/json">{data}</script>'
    return (
        f'<figure class="interactive" id="interactive-{name}" style="margin:1em 0">'
        f"{image}{script}<figcaption>{escape(caption)}</figcaption></figure>"
    )
