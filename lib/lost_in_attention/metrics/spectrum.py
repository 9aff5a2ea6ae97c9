"""The decomposition of a state, done once for all that is asked of it (Defs 3.2-3.4).

Everything follows from one float64 Gram matrix of the smaller side: its eigenvalues are the
squared singular values, and it serves to project out of the two singular subspaces, `token_space`
in R^S and `feature_space` in R^H.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from lost_in_attention.metrics.mixing import token_mixing_entropy, token_mixing_entropy_from_gram
from lost_in_attention.metrics.projection import GRAM_EPSILON, Projection
from lost_in_attention.metrics.rank_rules import NUMERICAL_RANK, RankRule


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
        if self._is_wide:
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
        if self._is_wide:
            return self._projection.outside_longer(y)
        return self._projection.outside_smaller(y.T).T

    def residual_tokens(self, y: Float[Tensor, "S columns"]) -> Float64[Tensor, "S columns"]:
        """(I - P_C) y: the part of every column outside `token_space` (Def 3.5).

        Raises ValueError if y has other rows, NonFiniteError if it holds NaN or an infinity.
        """
        if y.ndim != 2 or y.shape[0] != self.tokens:
            raise ValueError(f"y: expected shape ({self.tokens}, any), got {tuple(y.shape)}")
        y = y.detach().to(self.matrix)
        _finite_norm("y", y)
        if self._is_wide:
            return self._projection.outside_smaller(y)
        return self._projection.outside_longer(y.T).T

    def remainder(self) -> Float64[Tensor, "tokens features"]:
        """X (I - P_R) = (I - P_C) X: what the rank rule cut of the state.

        Projected twice: of the kept directions one projection leaves rounding, which is not small
        beside an update that adds nothing to them.
        """
        project = self.residual_tokens if self._is_wide else self.residual_features
        return project(project(self.matrix))

    def residual_norms(self, y: Float64[Tensor, "tokens features"]) -> tuple[float, float]:
        """|(I - P_C) y|_F and |y (I - P_R)|_F."""
        project = self._projection
        if self._is_wide:
            return project.norm_outside_smaller(y), project.norm_outside_longer(y)
        return project.norm_outside_longer(y.T), project.norm_outside_smaller(y.T)

    @property
    def _is_wide(self) -> bool:
        return self.tokens <= self.features

    @cached_property
    def _projection(self) -> Projection:
        wide = self.matrix if self._is_wide else self.matrix.T
        return Projection(wide, self.gram, self.singular_values, self.rank)


def spectrum(
    x: Float[Tensor, "tokens features"], *, rank_rule: RankRule = NUMERICAL_RANK
) -> Spectrum:
    """Decompose a state once, for every later use (Def 3.3).

    Works in float64 whatever the type of `x`.  Singular values are roots of eigenvalues of the
    Gram matrix, so those below about 1e-8 sigma_1 are rounding; no rule keeps them.

    Raises TypeError if `x` is not a floating-point tensor, NonFiniteError if it holds NaN or
    an infinity, ValueError if it is not 2-D, is empty, or is zero everywhere (no direction), or
    if `rank_rule` keeps no whole number of directions.
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
    if type(kept) is not int or kept < 1:
        raise ValueError(
            f"rank_rule: expected a whole number of directions to keep, at least 1, got {kept!r}"
        )
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
