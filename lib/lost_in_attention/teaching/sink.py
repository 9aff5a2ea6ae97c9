"""Checks for the exercises of chapter 17, the sink."""

from collections.abc import Callable

import torch
from jaxtyping import Float64
from torch import Tensor

from lost_in_attention.metrics.rid import effective_rank
from lost_in_attention.teaching import exercise_check, require_close
from lost_in_attention.teaching.matrices import Matrix, gaussian


@exercise_check
def check_rank_without_sinks(rank_without_sinks: Callable[[Matrix, float], float]) -> None:
    """The library's rank of the rows that should stay, with sinks of either sign, one or two."""
    random = torch.Generator().manual_seed(0)
    x = gaussian(20, 12, random)
    require_close("no sink", rank_without_sinks(x, 1000.0), effective_rank(x), tolerance=1e-6)
    # Long, and nowhere a thousand times the median.
    x[5] = 200 * x[5].sign()
    x[0, 3], x[7, 1] = 5000.0, -4000.0
    others = [row for row in range(20) if row not in (0, 7)]
    cases = {
        "5000 in row 0 and -4000 in row 7": (x, 1000.0, others),
        "the same, everything a hundredth": (x / 100, 1000.0, others),
        "the same, times 100: the long row too": (x, 100.0, [r for r in others if r != 5]),
        "the same, times 6000: only the larger": (x, 6000.0, [*range(1, 20)]),
    }
    for name, (state, times, kept) in cases.items():
        expected = effective_rank(state[kept])
        got = rank_without_sinks(state, times)
        require_close(name, got, expected, tolerance=1e-6)


@exercise_check
def check_layer_share(
    layer_share: Callable[[Float64[Tensor, "passages layers"], int], float],
) -> None:
    """Shares by hand, some above one or below zero; a passage with a small gap counts little."""
    gaps = torch.tensor([[3.0, 1.0, 0.0], [5.0, 1.0, -2.0]], dtype=torch.float64)
    for layer, expected in enumerate((1, 0.25, -0.25)):
        require_close(f"gaps {gaps.tolist()}, layer {layer}", layer_share(gaps, layer), expected)
    uneven = torch.tensor([[9.0, 1.0], [-0.4, 0.5], [0.2, -0.3]], dtype=torch.float64)
    require_close("one passage with a large gap", layer_share(uneven, 0), 0.88)
    require_close("the other layer", layer_share(uneven, 1), 0.12)
    require_close("all gaps doubled", layer_share(2 * uneven, 0), 0.88)
    require_close("every passage twice", layer_share(uneven.repeat(2, 1), 0), 0.88)
