"""Attention rollout (Abnar and Zuidema, 2020): attention followed through the layers.

A layer's own weights say where a token looks in that layer; there it meets states that are
mixed already.  Rollout multiplies the layers' weights, half of each being the residual branch.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def rollout_step(
    attention: Float[Tensor, "tokens tokens"], before: Float[Tensor, "tokens tokens"] | None = None
) -> Float[Tensor, "tokens tokens"]:
    """R_l = (A_l + I) / 2 with rows that sum to 1, times R_{l-1}; `before` None is layer 0.

    Row i of R_l spreads what token i holds after layer l over the input tokens.

    Raises ValueError unless the matrices are square and of one size.
    """
    rows, *columns = attention.shape
    if columns != [rows] or (before is not None and before.shape != attention.shape):
        shapes = [tuple(x.shape) for x in (attention, before) if x is not None]
        raise ValueError(
            f"attention and before: expected square matrices of one size, got {shapes}"
        )
    mixed = (attention + torch.eye(rows, dtype=attention.dtype, device=attention.device)) / 2
    mixed /= mixed.sum(-1, keepdim=True)
    return mixed if before is None else mixed @ before
