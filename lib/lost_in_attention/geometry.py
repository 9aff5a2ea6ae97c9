"""How much an update changes the spectrum and the support of a state (Defs 3.2-3.6).

A state X holds S tokens as rows and H features as columns.  Its singular values say how its
energy is spread; its two singular subspaces, `token_space` in R^S and `feature_space` in R^H,
say where that energy lies.  RID of an update X -> X' adds the change of the first to the
part of X' that leaves the second.

Everything follows from one float64 Gram matrix of the smaller side, so a state is decomposed
once (`spectrum`) and then serves every update that starts or ends there.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor

# Hidden states carry single precision at best, whatever the type they are stored in.
STATE_EPSILON = torch.finfo(torch.float32).eps
GRAM_EPSILON = torch.finfo(torch.float64).eps
# Largest share of a vector that may be left inside a subspace after it was projected out.
PROJECTION_ERROR = 1e-10


class NonFiniteError(ValueError):
    """A state holds NaN or an infinity."""


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


@dataclass(frozen=True, eq=False)
class Spectrum:
    """A state X and its decomposition (Def 3.3), made by `spectrum`.

    `gram` is X X^T when S <= H (the token Gram matrix) and X^T X otherwise.  `rank` is the
    number r of singular directions that the rank rule keeps; the subspaces are spanned by them.
    """

    matrix: Float64[Tensor, "tokens features"]
    gram: Float64[Tensor, "smaller smaller"]
    singular_values: Float64[Tensor, " smaller"]
    rank: int

    @property
    def tokens(self) -> int:
        """S, the number of rows."""
        return self.matrix.shape[0]

    @property
    def features(self) -> int:
        """H, the number of columns."""
        return self.matrix.shape[1]

    @property
    def has_full_rank(self) -> bool:
        """Whether the rank rule keeps all Q = min(S, H) directions."""
        return self.rank == len(self.singular_values)

    @cached_property
    def squared_norm(self) -> float:
        """The total energy, |X|_F^2 (Def 3.2)."""
        return float(self.gram.trace())

    @cached_property
    def effective_rank(self) -> float:
        """eRank(X) = exp(-sum p_i log p_i) with p_i = sigma_i / sum(sigma) (Def 3.4)."""
        p = self.singular_values / self.singular_values.sum()
        return math.exp(-float(torch.xlogy(p, p).sum()))

    def residual_features(self, y: Float[Tensor, "rows H"]) -> Float64[Tensor, "rows H"]:
        """y (I - P_R): the part of every row outside `feature_space` (Def 3.5)."""
        if y.ndim != 2 or y.shape[1] != self.features:
            raise ValueError(f"y: expected shape (any, {self.features}), got {tuple(y.shape)}")
        y = y.detach().to(self.matrix)
        if self.tokens <= self.features:
            return self._outside_longer(y, self.matrix)
        return self._outside_smaller(y.T).T

    def residual_tokens(self, y: Float[Tensor, "S columns"]) -> Float64[Tensor, "S columns"]:
        """(I - P_C) y: the part of every column outside `token_space` (Def 3.5)."""
        if y.ndim != 2 or y.shape[0] != self.tokens:
            raise ValueError(f"y: expected shape ({self.tokens}, any), got {tuple(y.shape)}")
        y = y.detach().to(self.matrix)
        if self.tokens <= self.features:
            return self._outside_smaller(y)
        return self._outside_longer(y.T, self.matrix.T).T

    def remainder(self) -> Float64[Tensor, "tokens features"]:
        """X (I - P_R) = (I - P_C) X: what the rank rule cut of the state."""
        project = self.residual_tokens if self.tokens <= self.features else self.residual_features
        return project(self.matrix)

    def residual_norms(self, y: Float64[Tensor, "tokens features"]) -> tuple[float, float]:
        """|(I - P_C) y|_F and |y (I - P_R)|_F for a state of full rank."""
        if self.tokens <= self.features:
            return 0.0, self._norm_outside_longer(y, self.matrix)
        return self._norm_outside_longer(y.T, self.matrix.T), 0.0

    def _norm_outside_longer(
        self, y: Float64[Tensor, "rows longer"], wide: Float64[Tensor, "smaller longer"]
    ) -> float:
        """|y - y W^T (W W^T)^-1 W|_F at full rank, by Pythagoras where that is safe.

        With W W^T = L L^T the part inside has the norm of L^-1 W y^T.  Rounding moves its share
        of |y|^2 by about eps * sigma_1 / sigma_Q; where that could be seen in what is left, the
        residual itself is formed.
        """
        norm = float(y.norm())
        if norm == 0 or self.rank == wide.shape[1]:
            return 0.0
        inside = torch.linalg.solve_triangular(self._cholesky, wide @ y.T, upper=False)
        share = 1 - (float(inside.norm()) / norm) ** 2
        if share * PROJECTION_ERROR > GRAM_EPSILON * self._condition:
            return norm * math.sqrt(share)
        return float(self._outside_longer(y, wide).norm())

    def _outside_smaller(
        self, y: Float64[Tensor, "smaller columns"]
    ) -> Float64[Tensor, "smaller columns"]:
        """The residual in R^Q, which at full rank the state fills: exactly zero."""
        if self.has_full_rank:
            return torch.zeros_like(y)
        return torch.addmm(y, self._basis, self._basis.T @ y, alpha=-1)

    def _outside_longer(
        self, y: Float64[Tensor, "rows longer"], wide: Float64[Tensor, "smaller longer"]
    ) -> Float64[Tensor, "rows longer"]:
        """y - y W^T (W W^T)^+ W for the wide orientation W of the state.

        One pass leaves a share of about eps * (sigma_1 / sigma_r)^2 inside the subspace, and
        every further pass multiplies what is left by the same factor.
        """
        if self.rank == wide.shape[1]:
            return torch.zeros_like(y)
        for _ in range(self._passes):
            y = torch.addmm(y, self._solve(wide @ y.T).T, wide, alpha=-1)
        return y

    def _solve(self, right: Float64[Tensor, "smaller rows"]) -> Float64[Tensor, "smaller rows"]:
        """The pseudo-inverse of the Gram matrix, cut at rank r, times `right`."""
        if self.has_full_rank:
            return torch.cholesky_solve(right, self._cholesky)
        energies = self.singular_values[: self.rank].square()
        return self._basis @ (self._basis.T @ right).div_(energies[:, None])

    @cached_property
    def _condition(self) -> float:
        return float(self.singular_values[0] / self.singular_values[self.rank - 1])

    @cached_property
    def _passes(self) -> int:
        return math.ceil(math.log(PROJECTION_ERROR) / math.log(GRAM_EPSILON * self._condition**2))

    @cached_property
    def _basis(self) -> Float64[Tensor, "smaller rank"]:
        """The kept singular vectors of the smaller side, strongest first."""
        return torch.linalg.eigh(self.gram).eigenvectors.flip(1)[:, : self.rank]

    @cached_property
    def _cholesky(self) -> Float64[Tensor, "smaller smaller"]:
        return torch.linalg.cholesky(self.gram)


State = Float[Tensor, "tokens features"] | Spectrum


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


def spectrum(
    x: Float[Tensor, "tokens features"], *, rank_rule: RankRule = NUMERICAL_RANK
) -> Spectrum:
    """Decompose a state once, for every later use (Def 3.3).

    Works in float64 whatever the type of `x`.  Singular values are roots of eigenvalues of the
    Gram matrix, so those below about 1e-8 sigma_1 are rounding; no rule keeps them.

    Raises TypeError if `x` is not a floating-point tensor, NonFiniteError if it holds NaN or
    an infinity, ValueError if it is not 2-D, is empty, or is zero everywhere (no direction).
    """
    return _decompose("x", x, rank_rule)


def _decompose(name: str, x: Tensor, rank_rule: RankRule) -> Spectrum:
    _check_matrix(name, x)
    matrix = x.detach().to(torch.float64, copy=True)
    _check_entries(name, matrix)
    gram = _gram(matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T)
    energies = torch.linalg.eigvalsh(gram).flip(0).clamp_(min=0)
    resolved = energies > 100 * len(energies) * GRAM_EPSILON * energies[0]
    singular_values = energies.sqrt()
    rank = min(rank_rule(singular_values, matrix.shape), int(resolved.sum()))
    return Spectrum(matrix, gram, singular_values, rank)


def _gram(wide: Float64[Tensor, "smaller longer"]) -> Float64[Tensor, "smaller smaller"]:
    """W W^T, computed below the diagonal in block rows and mirrored: 2/3 of the work."""
    size = len(wide)
    gram = wide.new_empty(size, size)
    step = math.ceil(size / 6)
    for start in range(0, size, step):
        rows = slice(start, min(start + step, size))
        torch.mm(wide[rows], wide[: rows.stop].T, out=gram[rows, : rows.stop])
        gram[:start, rows] = gram[rows, :start].T
    return gram


def _check_matrix(name: str, x: Tensor) -> None:
    if not isinstance(x, Tensor) or not x.is_floating_point():
        found = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"{name}: expected a floating-point tensor, got {found}")
    if x.ndim != 2 or x.numel() == 0:
        shape = tuple(x.shape)
        raise ValueError(f"{name}: expected shape (tokens, features), not empty, got {shape}")


def _check_entries(name: str, matrix: Float64[Tensor, "tokens features"]) -> None:
    norm = float(matrix.norm())
    if not math.isfinite(norm):
        bad = matrix.numel() - int(torch.isfinite(matrix).sum())
        raise NonFiniteError(
            f"{name}: expected finite entries and norm, got norm {norm} and "
            f"{bad} of {matrix.numel()} entries NaN or infinite"
        )
    if norm == 0:
        raise ValueError(f"{name}: expected a nonzero entry, got zeros only")


def effective_rank(x: State) -> float:
    """eRank(X), a number in [1, min(S, H)] (Def 3.4).  Raises what `spectrum` raises."""
    return _as_spectrum("x", x, NUMERICAL_RANK).effective_rank


def spectrum_change(before: State, after: State) -> float:
    """Delta S = |eRank(X') - eRank(X)| / min(S, H) (Sec 3.3.1); at most (Q - 1) / Q."""
    before, after = _as_spectra(before, after, NUMERICAL_RANK)
    return abs(after.effective_rank - before.effective_rank) / min(before.matrix.shape)


def support_innovation(
    before: State, after: State, *, rank_rule: RankRule = NUMERICAL_RANK
) -> float:
    """Delta D = (|(I - P_C) X'|_F + |X' (I - P_R)|_F) / (2 |X'|_F), in [0, 1] (Sec 3.3.1)."""
    return update_geometry(before, after, rank_rule=rank_rule).rid.support_innovation


def innovation_factors(
    before: State, after: State, *, rank_rule: RankRule = NUMERICAL_RANK
) -> InnovationFactors:
    """The size of the update and the novelty of its tokens and features."""
    return update_geometry(before, after, rank_rule=rank_rule).factors


def rid(before: State, after: State, *, rank_rule: RankRule = NUMERICAL_RANK) -> Rid:
    """RID(X | X') with its two parts (Def 3.6).  Not symmetric; blind to support that is lost."""
    return update_geometry(before, after, rank_rule=rank_rule).rid


def update_geometry(
    before: State, after: State, *, rank_rule: RankRule = NUMERICAL_RANK
) -> UpdateGeometry:
    """RID and the innovation factors of the update X -> X', from one set of residuals.

    `before` and `after` are matrices or ready spectra; `rank_rule` is for matrices, a ready
    spectrum keeps the rank that it was made with.

    Raises ValueError if the two shapes differ, and what `spectrum` raises.
    """
    before, after = _as_spectra(before, after, rank_rule)
    update = after.matrix - before.matrix
    update_norm, after_norm = float(update.norm()), math.sqrt(after.squared_norm)
    if before.has_full_rank:
        new = outside = before.residual_norms(update)
    else:
        new, outside = _norms_beside_cut(before, update)
    novelties = [norm / update_norm if update_norm else math.nan for norm in new]
    return UpdateGeometry(
        Rid(spectrum_change(before, after), sum(outside) / (2 * after_norm)),
        InnovationFactors(update_norm / after_norm, *novelties),
    )


def _norms_beside_cut(
    before: Spectrum, update: Float64[Tensor, "tokens features"]
) -> tuple[list[float], list[float]]:
    """Norms of dX and of X' = X + dX outside `token_space` and `feature_space`.

    Of X itself, what the rank rule cut lies outside.
    """
    cut = before.remainder()
    residuals = before.residual_tokens(update), before.residual_features(update)
    new = [float(residual.norm()) for residual in residuals]
    return new, [float(residual.add_(cut).norm()) for residual in residuals]


def token_projector(x: State, *, rank_rule: RankRule = NUMERICAL_RANK) -> Float64[Tensor, "S S"]:
    """P_C, the orthogonal projector on `token_space` (Def 3.5)."""
    state = _as_spectrum("x", x, rank_rule)
    identity = torch.eye(state.tokens, dtype=torch.float64, device=state.matrix.device)
    return identity - state.residual_tokens(identity)


def feature_projector(x: State, *, rank_rule: RankRule = NUMERICAL_RANK) -> Float64[Tensor, "H H"]:
    """P_R, the orthogonal projector on `feature_space` (Def 3.5)."""
    state = _as_spectrum("x", x, rank_rule)
    identity = torch.eye(state.features, dtype=torch.float64, device=state.matrix.device)
    return identity - state.residual_features(identity)


def _as_spectra(before: State, after: State, rank_rule: RankRule) -> tuple[Spectrum, Spectrum]:
    shapes = _shape("before", before), _shape("after", after)
    if shapes[0] != shapes[1]:
        raise ValueError(f"before and after: expected one shape, got {shapes[0]} and {shapes[1]}")
    return _as_spectrum("before", before, rank_rule), _as_spectrum("after", after, rank_rule)


def _as_spectrum(name: str, state: State, rank_rule: RankRule) -> Spectrum:
    return state if isinstance(state, Spectrum) else _decompose(name, state, rank_rule)


def _shape(name: str, state: State) -> tuple[int, int]:
    if isinstance(state, Spectrum):
        return state.tokens, state.features
    _check_matrix(name, state)
    return tuple(state.shape)
