"""Tokens that carry a massive activation: one feature outgrows all others by orders of magnitude.

Large decoders write one on few tokens, mostly the first (Sun et al., 2024); heads with nothing to
find attend to these, the attention sinks (Xiao et al., 2024).  Whatever is measured relative to a
whole state, as RID is, then tells of these tokens and of little else.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.residual.controls import check_seed
from lost_in_attention.residual.stream import State, record

# Sun et al. (2024), Section 2: larger than 100, and about 1,000 times the state's median.
LEAST, TIMES_MEDIAN = 100.0, 1000.0
# Far above the others, and not yet what Sun et al. call massive.
LARGE = 100.0


def massive_activations(
    hidden: Float[Tensor, "batch tokens features"],
    not_padding: Bool[Tensor, "batch tokens"],
    times: float = TIMES_MEDIAN,
) -> Bool[Tensor, "batch tokens"]:
    """Which tokens of a state carry a massive activation; padding never does.

    At least `LEAST`, and `times` the median of a sample's absolute values, without padding.
    """
    size = hidden.float().abs()
    median = size.masked_fill(~not_padding[..., None], torch.nan).flatten(1).nanmedian(1).values
    limit = (times * median).clamp(min=LEAST)
    return (size.amax(-1) >= limit[:, None]) & not_padding


def sink_tokens(
    vlm: VisionLanguageModel, inputs: Mapping[str, Any]
) -> Bool[Tensor, "batch tokens"]:
    """Which tokens carry a massive activation in at least one state; takes a forward pass."""
    not_padding = inputs["attention_mask"].bool()
    found = torch.zeros_like(not_padding)

    def visit(state: State) -> None:
        found.logical_or_(massive_activations(state.hidden, not_padding))

    record(vlm, inputs, visit)
    return found


def as_many_others(
    sinks: Bool[Tensor, "batch tokens"], not_padding: Bool[Tensor, "batch tokens"], *, seed: int
) -> Bool[Tensor, "batch tokens"]:
    """As many tokens of each sample as are sinks, drawn among its others.

    What leaving a sink out changes, leaving these out must not: the control.  A draw hangs on the
    seed and on the sample's number of tokens and of sinks, not on its batch.

    Raises ValueError on a negative seed, or where a sample has more sinks than other tokens.
    """
    check_seed(seed)
    drawn = torch.zeros_like(sinks)
    for row, sink, own in zip(drawn, sinks, not_padding, strict=True):
        others = (own & ~sink).nonzero()[:, 0]
        count = int(sink.sum())
        if count > len(others):
            raise ValueError(f"sinks: expected at most half of the tokens, got {count} sinks")
        random = np.random.default_rng([seed, int(own.sum()), count])
        row[others[torch.from_numpy(random.permutation(len(others))[:count])]] = True
    return drawn
