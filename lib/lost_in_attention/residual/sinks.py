"""Tokens that carry a massive activation: one feature outgrows all others by orders of magnitude.

Large decoders write one on few tokens, mostly the first (Sun et al., 2024); heads with nothing to
find attend to these, the attention sinks (Xiao et al., 2024).  Whatever is measured relative to a
whole state, as RID is, then tells of these tokens and of little else.
"""

from collections.abc import Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Peaks:
    """How far the activations of a state reach: each token's largest, each sample's median.

    Both of absolute values; padding has the peak 0, and does not count in the median.
    """

    largest: Float[Tensor, "batch tokens"]
    median: Float[Tensor, " batch"]

    @classmethod
    def of(
        cls,
        hidden: Float[Tensor, "batch tokens features"],
        not_padding: Bool[Tensor, "batch tokens"],
    ) -> "Peaks":
        """The peaks of a state."""
        size = hidden.float().abs()
        own = [each[mask] for each, mask in zip(size, not_padding, strict=True)]
        medians = [each.median() if len(each) else each.new_tensor(torch.nan) for each in own]
        return cls(size.amax(-1).masked_fill(~not_padding, 0), torch.stack(medians))

    def beyond(self, times: float) -> Bool[Tensor, "batch tokens"]:
        """Which tokens reach `LEAST`, and `times` the median."""
        return self.largest >= (times * self.median).clamp(min=LEAST)[:, None]


def massive_activations(
    hidden: Float[Tensor, "batch tokens features"], not_padding: Bool[Tensor, "batch tokens"]
) -> Bool[Tensor, "batch tokens"]:
    """Which tokens of a state carry a massive activation; padding never does.

    The median is that of a sample's absolute values, without padding.
    """
    return Peaks.of(hidden, not_padding).beyond(TIMES_MEDIAN)


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
