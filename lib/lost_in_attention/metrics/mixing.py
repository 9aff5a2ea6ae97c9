"""How evenly tokens resemble one another, and how an update changes that (Defs 3.7-3.8).

The cosine of two tokens, mapped to [0, 1] by (cos + 1) / 2, is their mixing weight.  A row of
weights divided by its sum is a distribution; Token Mixing Entropy is the mean entropy of the
rows, in nats.  Because a row's largest weight is its own, 1, the entropy stays within log 2 of
log S (`entropy_bounds`), and no update can gain or lose more than log 2.

A zero token has no direction: its cosine with every token, itself included, is 0 here, so its
row is uniform.
"""

import math
from collections.abc import Callable
from typing import Literal, get_args

import torch
from jaxtyping import Float, Float64
from torch import Tensor

Rows = Literal["all", "last"]
BLOCK_ENTRIES = 2**22

CosineRows = Callable[[slice], Float64[Tensor, "rows tokens"]]


def token_mixing_entropy(
    x: Float[Tensor, "tokens features"],
    *,
    power: float = 1,
    rows: Rows = "all",
    normalise: bool = False,
) -> float:
    """TME(X) = -(1/S) sum_t sum_j P_tj log P_tj, in nats (Def 3.7).

    `power` raises the weights before rows are divided by their sums, `rows` averages over all
    rows or takes the last one, and `normalise` divides by log S.  The helper that the paper's
    authors released is power=8, rows="last", normalise=True.

    Raises TypeError unless `x` is a floating-point tensor, and ValueError if it is not 2-D, is
    empty or not finite, if `power` is not positive, if `rows` is unknown, or if `normalise`
    meets a single token (log 1 = 0).
    """
    directions = _directions(x)
    return _mean_entropy(
        lambda block: directions[block] @ directions.T, len(x), power, rows, normalise
    )


def token_mixing_entropy_from_gram(
    gram: Float[Tensor, "tokens tokens"],
    *,
    power: float = 1,
    rows: Rows = "all",
    normalise: bool = False,
) -> float:
    """TME from the token Gram matrix X X^T; arguments and errors as `token_mixing_entropy`.

    Give it in float64: the cosines are only as exact as the Gram matrix.
    """
    _check_matrix("gram", gram)
    if gram.shape[0] != gram.shape[1] or (gram.diagonal() < 0).any():
        raise ValueError(
            "gram: expected a square matrix with no negative diagonal entry, "
            f"got shape {tuple(gram.shape)}, smallest {float(gram.diagonal().min()):.3g}"
        )
    gram = gram.detach()
    scale = _inverse_or_zero(gram.diagonal().double().sqrt())

    def cosine_rows(block: slice) -> Float64[Tensor, "rows tokens"]:
        return (gram[block] * scale[block, None]).mul_(scale)

    return _mean_entropy(cosine_rows, len(gram), power, rows, normalise)


def mixing_information_gain(
    before: Float[Tensor, "tokens features"], after: Float[Tensor, "tokens features"]
) -> float:
    """MixIG = TME(X') - TME(X), in nats, within [-log 2, log 2] (Def 3.8).

    The definition, on matrices.  Of states that are decomposed already, as a run's are, the
    difference of `Spectrum.mixing_entropy` is the same and costs nothing more.

    Raises ValueError if the two shapes differ, and what `token_mixing_entropy` raises.
    """
    _check_matrix("before", before)
    _check_matrix("after", after)
    if before.shape != after.shape:
        raise ValueError(
            "before and after: expected one shape, "
            f"got {tuple(before.shape)} and {tuple(after.shape)}"
        )
    return token_mixing_entropy(after) - token_mixing_entropy(before)


def entropy_bounds(x: Float[Tensor, "tokens features"]) -> tuple[float, float]:
    """The range of TME for tokens with this mean direction: (log S - h((1 + rho) / 2), log S).

    rho is the norm of the mean of the unit tokens and h the binary entropy in nats.  The lower
    end is reached by two antipodal groups.  Raises what `token_mixing_entropy` raises.
    """
    share = (1 + _directions(x).mean(0).norm().clamp(max=1)) / 2
    binary_entropy = -torch.xlogy(share, share) - torch.xlogy(1 - share, 1 - share)
    return math.log(len(x)) - float(binary_entropy), math.log(len(x))


def _mean_entropy(
    cosine_rows: CosineRows, tokens: int, power: float, rows: Rows, normalise: bool
) -> float:
    """Mean entropy of the mixing rows, block by block so that few S x S numbers exist at once."""
    if not power > 0:
        raise ValueError(f"power: expected a positive number, got {power!r}")
    if rows not in get_args(Rows):
        raise ValueError(f"rows: expected one of {get_args(Rows)}, got {rows!r}")
    if normalise and tokens == 1:
        raise ValueError("normalise: expected at least two tokens, got one, and log 1 is 0")
    first = tokens - 1 if rows == "last" else 0
    step = max(1, BLOCK_ENTRIES // tokens)
    total = sum(
        float(_row_entropies(cosine_rows(slice(start, min(start + step, tokens))), power).sum())
        for start in range(first, tokens, step)
    )
    return total / (tokens - first) / (math.log(tokens) if normalise else 1)


def _row_entropies(
    cosines: Float64[Tensor, "rows tokens"], power: float
) -> Float64[Tensor, " rows"]:
    """log Z - (1/Z) sum_j w_j log w_j with weights w and Z their sum, for every row."""
    weights = cosines.add_(1).div_(2).clamp_(0, 1)
    if power != 1:
        weights = weights.pow_(power)
    sums = weights.sum(1)
    return sums.log() - torch.xlogy(weights, weights).sum(1) / sums


def _directions(x: Float[Tensor, "tokens features"]) -> Float64[Tensor, "tokens features"]:
    """Unit tokens in float64; a zero token stays zero."""
    _check_matrix("x", x)
    x = x.detach().double()
    return x * _inverse_or_zero(x.norm(dim=1))[:, None]


def _inverse_or_zero(norms: Float64[Tensor, " tokens"]) -> Float64[Tensor, " tokens"]:
    return torch.where(norms > 0, 1 / norms, 0)


def _check_matrix(name: str, matrix: Tensor) -> None:
    if not isinstance(matrix, Tensor) or not matrix.is_floating_point():
        found = matrix.dtype if isinstance(matrix, Tensor) else type(matrix).__name__
        raise TypeError(f"{name}: expected a floating-point tensor, got {found}")
    if matrix.ndim != 2 or matrix.numel() == 0:
        raise ValueError(f"{name}: expected a non-empty matrix, got shape {tuple(matrix.shape)}")
    if not math.isfinite(float(torch.linalg.vector_norm(matrix.detach(), dtype=torch.float64))):
        raise ValueError(f"{name}: expected finite entries and norm, got NaN or an infinity")
