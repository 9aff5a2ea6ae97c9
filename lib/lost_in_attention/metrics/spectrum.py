"""The decomposition of a state, done once for all that is asked of it (Defs 3.2-3.4).

Everything follows from one float64 Gram matrix of the smaller side: its eigenvalues are the
squared singular values, and one Cholesky factor of it projects on the two singular subspaces,
`token_space` in R^S and `feature_space` in R^H.  For a state of deficient rank the directions that
were cut are needed too: without them it is one of full rank.  Where most were cut, those that are
left project by themselves.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from lost_in_attention.metrics.mixing import token_mixing_entropy, token_mixing_entropy_from_gram
from lost_in_attention.metrics.rank_rules import NUMERICAL_RANK, RankRule

GRAM_EPSILON = torch.finfo(torch.float64).eps
# Largest share of a vector that may be left inside a subspace after it was projected out.
PROJECTION_ERROR = 1e-10


class NonFiniteError(ValueError):
    """A state holds NaN or an infinity."""


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

    @cached_property
    def mixing_entropy(self) -> float:
        """TME(X) in nats (Def 3.7), from the token Gram matrix where that is made already."""
        if self.tokens <= self.features:
            return token_mixing_entropy_from_gram(self.gram)
        return token_mixing_entropy(self.matrix)

    def residual_features(self, y: Float[Tensor, "rows H"]) -> Float64[Tensor, "rows H"]:
        """y (I - P_R): the part of every row outside `feature_space` (Def 3.5).

        Raises ValueError if y has other columns, NonFiniteError if it holds NaN or an infinity.
        """
        if y.ndim != 2 or y.shape[1] != self.features:
            raise ValueError(f"y: expected shape (any, {self.features}), got {tuple(y.shape)}")
        y = y.detach().to(self.matrix)
        _finite_norm("y", y)
        if self.tokens <= self.features:
            return self._outside_longer(y, self.matrix)
        return self._outside_smaller(y.T).T

    def residual_tokens(self, y: Float[Tensor, "S columns"]) -> Float64[Tensor, "S columns"]:
        """(I - P_C) y: the part of every column outside `token_space` (Def 3.5).

        Raises ValueError if y has other rows, NonFiniteError if it holds NaN or an infinity.
        """
        if y.ndim != 2 or y.shape[0] != self.tokens:
            raise ValueError(f"y: expected shape ({self.tokens}, any), got {tuple(y.shape)}")
        y = y.detach().to(self.matrix)
        _finite_norm("y", y)
        if self.tokens <= self.features:
            return self._outside_smaller(y)
        return self._outside_longer(y.T, self.matrix.T).T

    def remainder(self) -> Float64[Tensor, "tokens features"]:
        """X (I - P_R) = (I - P_C) X: what the rank rule cut of the state.

        Projected twice: of the kept directions one projection leaves rounding, which is not small
        beside an update that adds nothing to them.
        """
        project = self.residual_tokens if self.tokens <= self.features else self.residual_features
        return project(project(self.matrix))

    def residual_norms(self, y: Float64[Tensor, "tokens features"]) -> tuple[float, float]:
        """|(I - P_C) y|_F and |y (I - P_R)|_F."""
        if self.tokens <= self.features:
            return self._norm_outside_smaller(y), self._norm_outside_longer(y, self.matrix)
        return self._norm_outside_longer(y.T, self.matrix.T), self._norm_outside_smaller(y.T)

    def _norm_outside_smaller(self, y: Float64[Tensor, "smaller columns"]) -> float:
        if self._keeps_few:
            return float(self._outside_smaller(y).norm())
        return float((self._cut.T @ y).norm())

    def _norm_outside_longer(
        self, y: Float64[Tensor, "rows longer"], wide: Float64[Tensor, "smaller longer"]
    ) -> float:
        """|y - y W^T (W W^T)^+ W|_F for the wide orientation W, by Pythagoras where that is safe.

        With W W^T = L L^T the part inside has the norm of L^-1 W y^T.  Rounding moves its share
        of |y|^2 by about eps * sigma_1 / sigma_r; where that could be seen in what is left, the
        residual itself is formed.
        """
        norm = float(y.norm())
        if norm == 0 or self.rank == wide.shape[1]:
            return 0.0
        if self._keeps_few:
            return float(self._outside_longer(y, wide).norm())
        products = self._without_cut(wide @ y.T)
        inside = torch.linalg.solve_triangular(self._cholesky, products, upper=False)
        share = 1 - (float(inside.norm()) / norm) ** 2
        if share * PROJECTION_ERROR > GRAM_EPSILON * self._condition:
            return norm * math.sqrt(share)
        return float(self._outside_longer(y, wide).norm())

    def _outside_smaller(
        self, y: Float64[Tensor, "smaller columns"]
    ) -> Float64[Tensor, "smaller columns"]:
        """The residual in R^Q, which at full rank the state fills: exactly zero."""
        if self._keeps_few:
            return torch.addmm(y, self._kept, self._kept.T @ y, alpha=-1)
        return self._cut @ (self._cut.T @ y)

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
            if self._keeps_few:
                y = torch.addmm(y, y @ self._kept_longer.T, self._kept_longer, alpha=-1)
            else:
                y = torch.addmm(y, self._solve(wide @ y.T).T, wide, alpha=-1)
        return y

    def _solve(self, right: Float64[Tensor, "smaller rows"]) -> Float64[Tensor, "smaller rows"]:
        """The pseudo-inverse of the Gram matrix, cut at rank r, times `right`."""
        return torch.cholesky_solve(self._without_cut(right), self._cholesky)

    def _without_cut(
        self, right: Float64[Tensor, "smaller rows"]
    ) -> Float64[Tensor, "smaller rows"]:
        if self.has_full_rank:
            return right
        return torch.addmm(right, self._cut, self._cut.T @ right, alpha=-1)

    @cached_property
    def _condition(self) -> float:
        return float(self.singular_values[0] / self.singular_values[self.rank - 1])

    @cached_property
    def _passes(self) -> int:
        return math.ceil(math.log(PROJECTION_ERROR) / math.log(GRAM_EPSILON * self._condition**2))

    @property
    def _keeps_few(self) -> bool:
        return 2 * self.rank < len(self.gram)

    @cached_property
    def _vectors(self) -> Float64[Tensor, "smaller smaller"]:
        """The singular vectors of the smaller side, weakest first."""
        return torch.linalg.eigh(self.gram).eigenvectors

    @property
    def _cut(self) -> Float64[Tensor, "smaller cut"]:
        """Those that the rank rule cut."""
        size = len(self.gram)
        if self.has_full_rank:
            return self.gram.new_empty(size, 0)
        return self._vectors[:, : size - self.rank]

    @property
    def _kept(self) -> Float64[Tensor, "smaller rank"]:
        """Those that it kept."""
        return self._vectors[:, -self.rank :]

    @cached_property
    def _kept_longer(self) -> Float64[Tensor, "rank longer"]:
        """The singular vectors of the longer side that the rank rule kept, as rows."""
        wide = self.matrix if self.tokens <= self.features else self.matrix.T
        return (self._kept.T @ wide).div_(self.singular_values[: self.rank].flip(0)[:, None])

    @cached_property
    def _cholesky(self) -> Float64[Tensor, "smaller smaller"]:
        """Of the Gram matrix, with what was cut lifted to sigma_r^2 so that it can be inverted."""
        if self.has_full_rank:
            return torch.linalg.cholesky(self.gram)
        energies = self.singular_values.square()
        lift = energies[self.rank - 1] - energies[self.rank :].flip(0)
        return torch.linalg.cholesky(torch.addmm(self.gram, self._cut * lift, self._cut.T))


def spectrum(
    x: Float[Tensor, "tokens features"], *, rank_rule: RankRule = NUMERICAL_RANK
) -> Spectrum:
    """Decompose a state once, for every later use (Def 3.3).

    Works in float64 whatever the type of `x`.  Singular values are roots of eigenvalues of the
    Gram matrix, so those below about 1e-8 sigma_1 are rounding; no rule keeps them.

    Raises TypeError if `x` is not a floating-point tensor, NonFiniteError if it holds NaN or
    an infinity, ValueError if it is not 2-D, is empty, or is zero everywhere (no direction), or
    if `rank_rule` keeps no direction.
    """
    return decompose("x", x, rank_rule)


def decompose(name: str, x: Tensor, rank_rule: RankRule) -> Spectrum:
    """`spectrum` of an argument that errors shall call `name`."""
    check_matrix(name, x)
    matrix = x.detach().to(torch.float64, copy=True)
    _check_entries(name, matrix)
    gram = _gram(matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T)
    energies = torch.linalg.eigvalsh(gram).flip(0).clamp_(min=0)
    resolved = energies > 100 * len(energies) * GRAM_EPSILON * energies[0]
    singular_values = energies.sqrt()
    kept = rank_rule(singular_values, matrix.shape)
    if kept < 1:
        raise ValueError(f"rank_rule: expected to keep at least 1 direction, got {kept!r}")
    rank = min(kept, int(resolved.sum()))
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


def check_matrix(name: str, x: Tensor) -> None:
    """Raise TypeError or ValueError unless `x` is a floating-point matrix with entries."""
    if not isinstance(x, Tensor) or not x.is_floating_point():
        found = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"{name}: expected a floating-point tensor, got {found}")
    if x.ndim != 2 or x.numel() == 0:
        shape = tuple(x.shape)
        raise ValueError(f"{name}: expected shape (tokens, features), not empty, got {shape}")


def _finite_norm(name: str, matrix: Float64[Tensor, "rows columns"]) -> float:
    norm = float(matrix.norm())
    if not math.isfinite(norm):
        bad = matrix.numel() - int(torch.isfinite(matrix).sum())
        raise NonFiniteError(
            f"{name}: expected finite entries and norm, got norm {norm} and "
            f"{bad} of {matrix.numel()} entries NaN or infinite"
        )
    return norm


def _check_entries(name: str, matrix: Float64[Tensor, "tokens features"]) -> None:
    if _finite_norm(name, matrix) == 0:
        raise ValueError(f"{name}: expected a nonzero entry, got zeros only")
