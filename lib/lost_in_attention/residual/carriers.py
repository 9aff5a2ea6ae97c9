"""Who carries the largest activation of a state, and how far it is above the others."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lost_in_attention.residual.sinks import LARGE, massive_activations

Number = int | float


def carrier(
    hidden: Float[Tensor, "tokens features"], visual: Bool[Tensor, " tokens"]
) -> dict[str, Number]:
    """The largest absolute activation of one sample's state, without padding, and its place.

    largest and median (of all absolute values), position and feature of the largest, second (the
    largest on any other token), norm of its token and median_norm of all tokens; massive and
    massive_visual count the tokens, and the visual ones, with a massive activation, large those
    with one of `LARGE` times the median.
    """
    size = hidden.float().abs()
    peaks, norms = size.amax(1), size.norm(dim=1)
    position = int(peaks.argmax())
    every = torch.ones_like(visual)[None]
    massive = massive_activations(hidden[None], every)[0]
    others = peaks[torch.arange(len(peaks), device=peaks.device) != position]
    return {
        "position": position,
        "feature": int(size[position].argmax()),
        "largest": float(peaks[position]),
        "second": float(others.max()) if len(others) else 0.0,
        "median": float(size.median()),
        "norm": float(norms[position]),
        "median_norm": float(norms.median()),
        "massive": int(massive.sum()),
        "massive_visual": int((massive & visual).sum()),
        "large": int(massive_activations(hidden[None], every, LARGE).sum()),
    }
