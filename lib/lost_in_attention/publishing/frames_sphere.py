"""The frames of the figure that a reader moves in chapter 05: token directions on a sphere."""

import math
from itertools import product

import numpy as np
import plotly.graph_objects as go
import torch
from jaxtyping import Float

from lost_in_attention.metrics.mixing import token_mixing_entropy
from lost_in_attention.publishing.interactive import Slider, seen_from
from lost_in_attention.publishing.plots import OKABE_ITO

TOKENS = 40
GREEN, PINK, YELLOW = OKABE_ITO[2:5]
# From one direction (-1) through an even spread (0) to two opposite groups (1).
PLACES = tuple(round(-1 + step / 10, 1) for step in range(21))


def directions(place: float, tokens: int = TOKENS) -> Float[np.ndarray, "tokens 3"]:
    """Unit vectors: all one at place -1, evenly spread at 0, two antipodal groups at 1.

    Raises ValueError for a place outside [-1, 1].
    """
    if not -1 <= place <= 1:
        raise ValueError(f"place: expected a number from -1 to 1, got {place!r}")
    height = 1 - (2 * np.arange(tokens) + 1) / tokens
    around = math.pi * (3 - math.sqrt(5)) * np.arange(tokens)
    polar = np.arccos(height)
    if place <= 0:
        polar = polar * (1 + place)
    else:
        near, far = polar * (1 - place), math.pi - (math.pi - polar) * (1 - place)
        polar = np.where(height > 0, near, far)
    level = np.sin(polar)
    return np.stack([level * np.cos(around), level * np.sin(around), np.cos(polar)], axis=1)


def entropy(place: float, power: float = 1) -> float:
    """TME of the tokens at this place, in nats."""
    return token_mixing_entropy(torch.from_numpy(directions(place)), power=power)


def tokens_on_sphere() -> tuple[go.Figure, list[Slider]]:
    """The sphere above, and below it the TME at every place with the one shown marked."""
    views = range(0, 90, 30)
    curves = {power: [round(entropy(place, power), 4) for place in PLACES] for power in (1, 8)}
    frames = [_frame(place, view, curves) for place, view in product(PLACES, views)]
    hidden = {"visible": False, "range": [-1.15, 1.15]}
    top = math.log(TOKENS)
    layout = {
        "xaxis": hidden | {"domain": [0, 1], "anchor": "y"},
        "yaxis": hidden | {"domain": [0.5, 1], "scaleanchor": "x"},
        "xaxis2": {
            "anchor": "y2", "range": [-1.25, 1.25], "tickvals": [-1, 0, 1],
            "ticktext": ["one", "spread", "two groups"],
        },
        "yaxis2": {
            "domain": [0, 0.42], "title": {"text": "TME (nats)"}, "range": [top - 2, top + 0.2],
        },
        "margin": {"l": 55, "r": 15, "t": 5, "b": 40},
        "height": 480,
    }  # fmt: skip
    sliders = [
        Slider("directions (one, spread, two groups)", [f"{p:+.1f}" for p in PLACES], 10),
        Slider("direction of view", [f"{view}°" for view in views], 1),
    ]
    return go.Figure(frames=frames, layout=layout), sliders


def _frame(place: float, view: float, curves: dict[int, list[float]]) -> go.Frame:
    points, top = directions(place), math.log(TOKENS)
    rho = float(np.linalg.norm(points.mean(0)))
    here, eighth = (curves[power][PLACES.index(place)] for power in (1, 8))
    words = (
        f"Place {place:+.1f}: mean resultant length {rho:.2f}, TME {here:.3f} nats, "
        f"{top - here:.3f} below log {TOKENS}. With the 8th power {eighth:.3f}."
    )
    marks = {"color": [GREEN, PINK], "size": 12}
    floor = [round(top - math.log(2), 4)] * 2
    below = [
        _curve("definition", curves[1], GREEN, "solid"),
        _curve("8th power", curves[8], PINK, "dash"),
        go.Scatter(x=[-1, 1], y=floor, mode="lines", line={"color": "gray", "dash": "dot"}),
        go.Scatter(x=[place, place], y=[here, eighth], mode="markers", marker=marks),
    ]
    for trace in below:
        trace.update(xaxis="x2", yaxis="y2", hoverinfo="skip")
    return go.Frame(name=words, data=[_outline(), *_points(points, view), *below])


def _outline() -> go.Scatter:
    turn = np.linspace(0, 2 * math.pi, 61)
    x, y = np.cos(turn).round(3).tolist(), np.sin(turn).round(3).tolist()
    return go.Scatter(x=x, y=y, mode="lines", line={"color": "gray", "width": 1}, hoverinfo="skip")


def _points(points: Float[np.ndarray, "tokens 3"], view: float) -> list[go.Scatter]:
    """Tokens on the far side small and pale, those on the near side on top of them."""
    turn, tilt = math.radians(view), math.radians(20)
    toward = [math.cos(tilt) * math.cos(turn), math.cos(tilt) * math.sin(turn), math.sin(tilt)]
    near = points @ np.array(toward) >= 0
    drawn = []
    for side, look in ((~near, {"opacity": 0.35, "size": 6}), (near, {"size": 9})):
        x, y = seen_from(points[side], view).round(3).T.tolist() if side.any() else ([], [])
        marker = look | {"color": YELLOW, "line": {"color": "black", "width": 1}}
        drawn.append(go.Scatter(x=x, y=y, mode="markers", marker=marker, hoverinfo="skip"))
    return drawn


def _curve(name: str, values: list[float], color: str, dash: str) -> go.Scatter:
    line = {"color": color, "dash": dash}
    names = [name if place == 0.4 else "" for place in PLACES]
    side = "top right" if name == "definition" else "bottom right"
    return go.Scatter(
        x=PLACES, y=values, mode="lines+text", line=line, text=names, textposition=side
    )
