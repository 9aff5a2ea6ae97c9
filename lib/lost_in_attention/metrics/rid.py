"""How much an update changes the spectrum and the support of a state (Defs 3.5-3.6).

A state X holds S tokens as rows and H features as columns.  Its singular values say how its
energy is spread; its two singular subspaces, `token_space` in R^S and `feature_space` in R^H,
say where that energy lies.  RID of an update X -> X' adds the change of the first to the
part of X' that leaves the second.

A state is decomposed once (`spectrum`) and then serves every update that starts or ends there.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from lost_in_attention.metrics.rank_rules import (
    NUMERICAL_RANK,
    ExplainedEnergy,
    NumericalRank,
    RankRule,
)
from lost_in_attention.metrics.spectrum import (
    NonFiniteError,
    Spectrum,
    check_matrix,
    decompose,
    spectrum,
)

__all__ = [
    "NUMERICAL_RANK",
    "ExplainedEnergy",
    "InnovationFactors",
    "NonFiniteError",
    "NumericalRank",
    "RankRule",
    "Rid",
    "Spectrum",
    "UpdateGeometry",
    "effective_rank",
    "feature_projector",
    "rid",
    "spectrum",
    "spectrum_change",
    "support_innovation",
    "token_projector",
    "update_geometry",
]

Matrix = Float[Tensor, "tokens features"] | Spectrum


class InnovationFactors(NamedTuple):
    """How large an update dX is, and which share of it is new.

    size is |dX|_F / |X'|_F; token_novelty is |(I - P_C) dX|_F / |dX|_F and feature_novelty is
    |dX (I - P_R)|_F / |dX|_F.  Where the rank rule cut nothing of X, the support innovation is
    size * (token_novelty + feature_novelty) / 2.  A zero update has size 0 and novelties nan.
    """

    size: float
    token_novelty: float
    feature_novelty: float


class Rid(NamedTuple):
    """Representation Information Discrepancy (Def 3.6) and its two parts."""

    spectrum_change: float
    support_innovation: float

    @property
    def total(self) -> float:
        """RID(X | X') = Delta S + Delta D."""
        return self.spectrum_change + self.support_innovation


class UpdateGeometry(NamedTuple):
    """All that is measured of one update."""

    rid: Rid
    factors: InnovationFactors


def effective_rank(x: Matrix) -> float:
    """eRank(X), a number in [1, min(S, H)] (Def 3.4).  Raises what `spectrum` raises."""
    return _as_spectrum("x", x, NUMERICAL_RANK).effective_rank


def spectrum_change(before: Matrix, after: Matrix) -> float:
    """Delta S = |eRank(X') - eRank(X)| / min(S, H) (Sec 3.3.1); at most (Q - 1) / Q."""
    before, after = _as_spectra(before, after, NUMERICAL_RANK)
    return abs(after.effective_rank - before.effective_rank) / min(before.matrix.shape)


def support_innovation(
    before: Matrix, after: Matrix, *, rank_rule: RankRule = NUMERICAL_RANK
) -> float:
    """Delta D = (|(I - P_C) X'|_F + |X' (I - P_R)|_F) / (2 |X'|_F), in [0, 1] (Sec 3.3.1)."""
    return update_geometry(before, after, rank_rule=rank_rule).rid.support_innovation


def rid(before: Matrix, after: Matrix, *, rank_rule: RankRule = NUMERICAL_RANK) -> Rid:
    """RID(X | X') with its two parts (Def 3.6).  Not symmetric; blind to support that is lost."""
    return update_geometry(before, after, rank_rule=rank_rule).rid


def update_geometry(
    before: Matrix, after: Matrix, *, rank_rule: RankRule = NUMERICAL_RANK
) -> UpdateGeometry:
    """RID and the innovation factors of the update X -> X', from one set of residuals.

    `before` and `after` are matrices or ready spectra; `rank_rule` is for matrices, a ready
    spectrum keeps the rank that it was made with.

    Raises ValueError if the two shapes differ, and what `spectrum` raises.
    """
    before, after = _as_spectra(before, after, rank_rule)
    update = after.matrix - before.matrix
    update_norm, after_norm = float(update.norm()), math.sqrt(after.squared_norm)
    new = before.residual_norms(update)
    outside = new if before.has_full_rank else _beside_cut(before, update, new)
    novelties = [norm / update_norm if update_norm else math.nan for norm in new]
    return UpdateGeometry(
        Rid(spectrum_change(before, after), sum(outside) / (2 * after_norm)),
        InnovationFactors(update_norm / after_norm, *novelties),
    )


def _beside_cut(
    before: Spectrum, update: Float64[Tensor, "tokens features"], new: tuple[float, float]
) -> list[float]:
    """Norms of X' = X + dX outside `token_space` and `feature_space`, from those of dX.

    Of X itself what the rank rule cut, R, lies outside, so that each squared norm grows by
    2 <dX, R> + |R|^2.
    """
    cut = before.remainder()
    added = 2 * float((update * cut).sum()) + float(cut.norm()) ** 2
    return [math.sqrt(max(0.0, norm**2 + added)) for norm in new]


def token_projector(x: Matrix, *, rank_rule: RankRule = NUMERICAL_RANK) -> Float64[Tensor, "S S"]:
    """P_C, the orthogonal projector on `token_space` (Def 3.5)."""
    state = _as_spectrum("x", x, rank_rule)
    identity = torch.eye(state.tokens, dtype=torch.float64, device=state.matrix.device)
    return identity - state.residual_tokens(identity)


def feature_projector(x: Matrix, *, rank_rule: RankRule = NUMERICAL_RANK) -> Float64[Tensor, "H H"]:
    """P_R, the orthogonal projector on `feature_space` (Def 3.5)."""
    state = _as_spectrum("x", x, rank_rule)
    identity = torch.eye(state.features, dtype=torch.float64, device=state.matrix.device)
    return identity - state.residual_features(identity)


def _as_spectra(before: Matrix, after: Matrix, rank_rule: RankRule) -> tuple[Spectrum, Spectrum]:
    shapes = _shape("before", before), _shape("after", after)
    if shapes[0] != shapes[1]:
        raise ValueError(f"before and after: expected one shape, got {shapes[0]} and {shapes[1]}")
    return _as_spectrum("before", before, rank_rule), _as_spectrum("after", after, rank_rule)


def _as_spectrum(name: str, state: Matrix, rank_rule: RankRule) -> Spectrum:
    return state if isinstance(state, Spectrum) else decompose(name, state, rank_rule)


def _shape(name: str, state: Matrix) -> tuple[int, int]:
    if isinstance(state, Spectrum):
        return state.tokens, state.features
    check_matrix(name, state)
    return tuple(state.shape)
