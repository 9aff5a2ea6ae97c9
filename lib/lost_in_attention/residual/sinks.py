"""Tokens that carry a massive activation: one feature outgrows all others by orders of magnitude.

Large decoders write one on few tokens, mostly the first (Sun et al., 2024); heads with nothing to
find attend to these, the attention sinks (Xiao et al., 2024).  Whatever is measured relative to a
whole state, as RID is, then tells of these tokens and of little else.
"""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.residual.stream import State, record

# Sun et al. (2024), Section 2: larger than 100, and about 1,000 times the state's median.
LEAST, TIMES_MEDIAN = 100.0, 1000.0


def massive_activations(
    hidden: Float[Tensor, "batch tokens features"], not_padding: Bool[Tensor, "batch tokens"]
) -> Bool[Tensor, "batch tokens"]:
    """Which tokens of a state carry a massive activation; padding never does.

    The median is that of a sample's absolute values, without padding.
    """
    size = hidden.float().abs()
    median = size.masked_fill(~not_padding[..., None], torch.nan).flatten(1).nanmedian(1).values
    limit = (TIMES_MEDIAN * median).clamp(min=LEAST)
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
