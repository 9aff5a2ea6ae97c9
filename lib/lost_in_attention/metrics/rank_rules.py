"""Numerical rank: which singular directions of a state count (Defs 3.3-3.4).

In exact arithmetic every positive singular value counts.  Measured states have rounding in
place of zeros, so a rule has to draw the line, and projectors jump where a value crosses it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

# Hidden states carry single precision at best, whatever the type they are stored in.
STATE_EPSILON = torch.finfo(torch.float32).eps

RankRule = Callable[[Float64[Tensor, " values"], torch.Size], int]
"""Counts the singular values to keep, from all of them (descending) and the state's shape."""


@dataclass(frozen=True)
class NumericalRank:
    """Keep sigma > max(S, H) * eps * sigma_1, with eps of float32 for input of every type.

    Stored states have passed through single precision or less, so a finer cut-off would count
    their rounding as directions; the released helper works in float32 as well.
    """

    def __call__(self, singular_values: Float64[Tensor, " values"], shape: torch.Size) -> int:
        cutoff = max(shape) * STATE_EPSILON * singular_values[0]
        return int((singular_values > cutoff).sum())


@dataclass(frozen=True)
class ExplainedEnergy:
    """Keep the fewest leading values whose squares hold at least `share` of their total.

    Raises ValueError unless 0 < share <= 1.
    """

    share: float = 0.99

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"share: expected a number in (0, 1], got {self.share!r}")

    def __call__(self, singular_values: Float64[Tensor, " values"], shape: torch.Size) -> int:
        energy = singular_values.square().cumsum(0)
        return int((energy < self.share * energy[-1]).sum()) + 1


NUMERICAL_RANK = NumericalRank()
