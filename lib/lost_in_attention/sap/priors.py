"""What stands in for the decoder's scores of visual tokens (Section 4.3, Appendix C.3).

A prior gives each visual token of an image one score, computed once from the image and shared by
layers and heads.  Two versions: "paper" follows the paper's text and writes the values as they
are; "released" follows the authors' code, which turns them into probabilities first.  Which
prior a name stands for is settled in `registry`.

Newline tokens have no patch: their value is NaN on input and the image's mean in the prior.
"""

import math
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

Version = Literal["paper", "released"]
VERSIONS = get_args(Version)
# BT.601, as the paper gives them.
GRAY = (0.299, 0.587, 0.114)

Scores = Float[Tensor, " tokens"]


def encoder_prior(received: Scores, *, version: Version = "paper") -> Scores:
    """From the attention that each token receives in the vision encoder (`recorded_attention`).

    The release pools the map otherwise (`Recorder`) and takes the softmax of it.

    Raises ValueError on an unknown version or a vector without a finite value.
    """
    values = _filled("received", received, version)
    return values.softmax(0) if version == "released" else values


def complexity_prior(complexity: Scores, *, version: Version = "paper") -> Scores:
    """From `patch_complexity`; the release stretches it to [0, 1] and takes the softmax.

    Raises ValueError as `encoder_prior` does.
    """
    values = _filled("complexity", complexity, version)
    if version == "paper":
        return values
    # A blank image is equally complex everywhere.
    span = (values.max() - values.min()).clamp(min=torch.finfo(values.dtype).tiny)
    return ((values - values.min()) / span).softmax(0)


def noise_prior(
    tokens: int, random: np.random.Generator, *, rows: int, version: Version = "paper"
) -> Float[Tensor, "rows tokens"]:
    """Standard Gaussian scores, a row for each query; in the release one row of Dirichlet(1).

    Rows come from `random` one after another: those of later queries can be drawn later.

    Raises ValueError on an unknown version, or unless the numbers are positive.
    """
    _check_version(version)
    if tokens < 1 or rows < 1:
        raise ValueError(f"tokens, rows: expected positive numbers, got {tokens} and {rows}")
    if version == "paper":
        return torch.from_numpy(random.standard_normal((rows, tokens), dtype=np.float32))
    return torch.from_numpy(random.dirichlet(np.ones(tokens), size=1).astype(np.float32))


def uniform_prior(tokens: int) -> Scores:
    """The same score everywhere, 1 / n, the mean of an attention map over n tokens.

    Raises ValueError unless `tokens` is positive.
    """
    if tokens < 1:
        raise ValueError(f"tokens: expected a positive number, got {tokens}")
    return torch.full((tokens,), 1 / tokens)


def patch_complexity(
    patches: Float[Tensor, "*batch 3 height width"],
) -> Float[Tensor, "*batch"]:
    """c = mean absolute horizontal plus vertical difference, plus variance, of the gray patch.

    Pixels in [0, 1]: the two summands scale differently, and the paper does not say the unit.
    """
    weights = torch.tensor(GRAY, dtype=patches.dtype, device=patches.device)
    gray = (patches * weights[:, None, None]).sum(-3)
    across = gray.diff(dim=-1).abs().mean((-2, -1))
    down = gray.diff(dim=-2).abs().mean((-2, -1))
    return across + down + gray.var((-2, -1), correction=0)


def normalised_entropy(scores: Scores) -> float:
    """H(softmax(scores)) / log n: 1 where the prior spreads attention evenly, 0 on one token.

    Raises ValueError on fewer than two scores or a value that is not finite.
    """
    if scores.dim() != 1 or len(scores) < 2 or not scores.isfinite().all():
        raise ValueError(
            f"scores: expected at least two finite numbers, got shape {tuple(scores.shape)}"
        )
    log_weights = scores.double().log_softmax(0)
    return float(-(log_weights.exp() * log_weights).sum()) / math.log(len(scores))


def _filled(name: str, values: Scores, version: str) -> Scores:
    _check_version(version)
    known = ~values.isnan()
    if values.dim() != 1 or not known.any() or values[known].isinf().any():
        raise ValueError(
            f"{name}: expected finite numbers, or NaN for newline tokens, "
            f"got {int(known.sum())} of {values.numel()}"
        )
    return values.where(known, values[known].mean())


def _check_version(version: str) -> None:
    if version not in VERSIONS:
        raise ValueError(f"version: expected one of {list(VERSIONS)}, got {version!r}")
