"""The frames of the figure that a reader moves in chapter 02: a spectrum that decays."""

import math
from itertools import product

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from lost_in_attention.publishing.interactive import Slider
from lost_in_attention.publishing.plots import OKABE_ITO

GREEN = OKABE_ITO[2]


def spectrum_by_decay(count: int = 12) -> tuple[go.Figure, list[Slider]]:
    """Bars p_i of sigma_i = exp(-decay * i) for i < rank, and the flat spectrum of equal eRank."""
    ranks, decays = list(range(2, count + 1, 2)), [step / 10 for step in range(0, 16)]
    frames = [_spectrum_frame(rank, decay, count) for rank, decay in product(ranks, decays)]
    layout = {
        "xaxis": {"title": {"text": "singular value (index)"}, "range": [0.4, count + 0.6]},
        "yaxis": {"title": {"text": "share p of the sum"}, "range": [0, 1]},
    }
    sliders = [
        Slider("rank (positive singular values)", [str(rank) for rank in ranks], len(ranks) - 1),
        Slider("decay from one value to the next", [f"{decay:.1f}" for decay in decays], 4),
    ]
    return go.Figure(frames=frames, layout=layout), sliders


def decaying_values(rank: int, decay: float, count: int) -> Float[np.ndarray, " count"]:
    """sigma_i = exp(-decay * i) for i < rank, then zeros."""
    return np.where(np.arange(count) < rank, np.exp(-decay * np.arange(count)), 0.0)


def _spectrum_frame(rank: int, decay: float, count: int) -> go.Frame:
    sigma = decaying_values(rank, decay, count)
    p, energy = sigma / sigma.sum(), np.square(sigma)
    erank = math.exp(-(p[:rank] * np.log(p[:rank])).sum())
    participation = energy.sum() ** 2 / np.square(energy).sum()
    bars = go.Bar(x=[*range(1, count + 1)], y=p.round(4).tolist(), marker={"color": GREEN})
    edge = round(0.5 + erank, 3)
    flat = go.Scatter(
        x=[0.5, 0.5, edge, edge],
        y=[0, round(1 / erank, 4), round(1 / erank, 4), 0],
        mode="lines",
        line={"color": "black", "dash": "dash"},
    )
    words = (
        f"Rank {rank}, effective rank {erank:.2f}, participation ratio {participation:.2f}, "
        f"stable rank {energy.sum() / energy[0]:.2f}. The dashed box is {erank:.2f} wide."
    )
    return go.Frame(name=words, data=[bars, flat])
