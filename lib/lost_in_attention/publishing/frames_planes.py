"""The frames of the figure that a reader moves in chapter 03: two planes that share a line."""

import math
from itertools import product

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from lost_in_attention.publishing.interactive import Slider, seen_from
from lost_in_attention.publishing.plots import OKABE_ITO

GREEN, PINK, YELLOW = OKABE_ITO[2:5]


def tilted_planes() -> tuple[go.Figure, list[Slider]]:
    """Two planes that share a line, and the innovation of a vector of the second."""
    tilts, places, views = range(0, 91, 15), range(0, 91, 30), range(20, 200, 30)
    frames = [_planes_frame(*angles) for angles in product(tilts, places, views)]
    hidden = {"visible": False, "range": [-1.5, 1.5]}
    layout = {
        "xaxis": hidden | {"range": [-1.6, 1.6]},
        "yaxis": hidden | {"scaleanchor": "x"},
        "margin": {"l": 5, "r": 5, "t": 5, "b": 5},
        "height": 300,
    }
    sliders = [
        Slider("angle between the planes", [f"{angle}°" for angle in tilts], 3),
        Slider("angle of the vector to the shared line", [f"{angle}°" for angle in places], 2),
        Slider("direction of view", [f"{angle}°" for angle in views], 3),
    ]
    return go.Figure(frames=frames, layout=layout), sliders


def tilted_vector(tilt: float, place: float) -> Float[np.ndarray, "3"]:
    """The unit vector at `place` degrees from the x-axis in the plane tilted by `tilt`."""
    tilt, place = math.radians(tilt), math.radians(place)
    along, across = math.cos(place), math.sin(place)
    return np.array([along, across * math.cos(tilt), across * math.sin(tilt)])


def plane(tilt: float) -> Float[np.ndarray, "5 3"]:
    """The outline of a square in the plane through the x-axis tilted by `tilt` degrees."""
    angle = math.radians(tilt)
    other = np.array([0.0, math.cos(angle), math.sin(angle)])
    corners = [(-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1)]
    return np.array([[along, 0, 0] + across * other for along, across in corners])


def _planes_frame(tilt: float, place: float, view: float) -> go.Frame:
    y = tilted_vector(tilt, place)
    shadow = y * [1, 1, 0]
    data = [
        _outline(plane(0), view, GREEN, ["old space", ""]),
        _outline(plane(tilt), view, YELLOW, ["", "new space"]),
        _line([np.zeros(3), y], view, "black", "y", dash="solid"),
        _line([np.zeros(3), shadow], view, GREEN, "Py", dash="solid"),
        _line([shadow, y], view, PINK, "", dash="dot"),
    ]
    words = (
        f"Planes {tilt} degrees apart, vector {place} degrees from the line they share: "
        f"innovation {abs(y[2]):.3f} of a vector of length 1 (dotted)."
    )
    return go.Frame(name=words, data=data)


def _outline(
    corners: Float[np.ndarray, "5 3"], view: float, color: str, ends: list[str]
) -> go.Scatter:
    """A plane, named at one of two opposite corners so that the names keep apart."""
    x, y = seen_from(corners, view).round(3).T.tolist()
    return go.Scatter(
        x=x, y=y, mode="lines+text", fill="toself", line={"color": color},
        text=[ends[0], "", ends[1], "", ""], textposition="bottom center", hoverinfo="skip",
    )  # fmt: skip


def _line(points: list, view: float, color: str, text: str, *, dash: str) -> go.Scatter:
    x, y = seen_from(np.array(points), view).round(3).T.tolist()
    return go.Scatter(
        x=x, y=y, mode="lines+markers+text", line={"color": color, "dash": dash, "width": 3},
        marker={"size": [1, 8], "color": color}, text=["", text], textposition="top right",
        hoverinfo="skip",
    )  # fmt: skip
