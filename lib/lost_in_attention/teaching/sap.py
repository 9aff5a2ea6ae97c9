"""Checks for the exercises of chapter 12, replaced attention."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int
from torch import Tensor

from lost_in_attention.teaching import exercise_check, numbers, require_close, require_equal
from lost_in_attention.teaching.matrices import gaussian

Scores = Float64[Tensor, "tokens tokens"]
Right = Int[np.ndarray, " questions"]


@exercise_check
def check_prior_rows(
    prior_rows: Callable[[Scores, Bool[Tensor, " tokens"], Float64[Tensor, " visual"]], Scores],
) -> None:
    """Causal rows that sum to one, whose log ratios are those of prior and remaining scores."""
    random = torch.Generator().manual_seed(0)
    scores = gaussian(7, 7, random)
    visual = torch.tensor([False, True, True, True, False, False, True])
    prior = torch.tensor([0.2, -1.0, 0.7, 0.1], dtype=torch.float64)
    rows = numbers("prior_rows", prior_rows(scores, visual, prior), 7, 7)
    require_equal("sum of each row", rows.sum(1), torch.ones(7, dtype=torch.float64))
    require_equal("weights on later tokens", rows.triu(1), torch.zeros_like(rows))
    last = rows[6].log()
    pairs = {
        "two visual tokens, the first two": (last[1] - last[2], 1.2),
        "visual token 3 and text token 4": (last[3] - last[4], 0.7 - float(scores[6, 4])),
        "text tokens 0 and 5": (last[0] - last[5], float(scores[6, 0] - scores[6, 5])),
    }
    for name, (got, expected) in pairs.items():
        require_close(f"last row, log ratio of {name}", got, expected)
    other = torch.where(visual, gaussian(7, 7, random), scores)
    require_equal("other scores of visual tokens", prior_rows(other, visual, prior), rows)
    far = prior_rows(scores + 800, visual, prior + 800)
    require_equal("scores and prior 800 higher", far, rows)


@exercise_check
def check_mcnemar_p(mcnemar_p: Callable[[Right, Right], float]) -> None:
    """Values by hand, from the answers that changed alone, the same from either side."""
    known = {(0, 5): 2 / 32, (1, 5): 14 / 64, (3, 3): 1, (0, 0): 1, (0, 1): 1, (2, 8): 112 / 1024}
    for (lost, gained), expected in known.items():
        for same in (0, 1, 60):
            # Both right, both wrong, then those that changed.
            vanilla = np.array([1] * same + [0] * same + [1] * lost + [0] * gained, dtype=int)
            variant = np.array([1] * same + [0] * same + [0] * lost + [1] * gained, dtype=int)
            what = f"{lost} lost, {gained} gained, {2 * same} as before"
            require_close(what, mcnemar_p(vanilla, variant), expected)
            require_close(f"{what}, swapped", mcnemar_p(variant, vanilla), expected)
