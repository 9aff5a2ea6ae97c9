"""Projection out of the two singular subspaces of a matrix, without its singular vectors (Def 3.5).

One Cholesky factor of the Gram matrix does it.  Of a matrix of deficient rank the directions that
were cut are needed too: they are lifted, so that the factor exists, and taken out of what it is
applied to.  Where most were cut, those that are left project by themselves.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float64
from torch import Tensor

GRAM_EPSILON = torch.finfo(torch.float64).eps
# Largest share of a vector that may be left inside a subspace after it was projected out.
PROJECTION_ERROR = 1e-10


@dataclass(frozen=True, eq=False)
class Projection:
    """Out of the `rank` strongest singular directions of a matrix W that is not taller than wide.

    `gram` is W W^T; the sides of W are called smaller (R^Q) and longer.
    """

    wide: Float64[Tensor, "smaller longer"]
    gram: Float64[Tensor, "smaller smaller"]
    singular_values: Float64[Tensor, " smaller"]
    rank: int

    def norm_outside_smaller(self, y: Float64[Tensor, "smaller columns"]) -> float:
        """The norm of `outside_smaller`."""
        if self._keeps_few:
            return float(self.outside_smaller(y).norm())
        return float((self._cut.T @ y).norm())

    def norm_outside_longer(self, y: Float64[Tensor, "rows longer"]) -> float:
        """|y - y W^T (W W^T)^+ W|_F, by Pythagoras where that is safe.

        With W W^T = L L^T the part inside has the norm of L^-1 W y^T.  Rounding moves its share
        of |y|^2 by about eps * sigma_1 / sigma_r; where that could be seen in what is left, the
        residual itself is formed.
        """
        norm = float(y.norm())
        if norm == 0 or self.rank == self.wide.shape[1]:
            return 0.0
        if self._keeps_few:
            return float(self.outside_longer(y).norm())
        products = self._without_cut(self.wide @ y.T)
        inside = torch.linalg.solve_triangular(self._cholesky, products, upper=False)
        share = 1 - (float(inside.norm()) / norm) ** 2
        if share * PROJECTION_ERROR > GRAM_EPSILON * self._condition:
            return norm * math.sqrt(share)
        return float(self.outside_longer(y).norm())

    def outside_smaller(
        self, y: Float64[Tensor, "smaller columns"]
    ) -> Float64[Tensor, "smaller columns"]:
        """What is left of every column; at full rank exactly zero, as the kept ones fill R^Q."""
        if self._keeps_few:
            return torch.addmm(y, self._kept, self._kept.T @ y, alpha=-1)
        return self._cut @ (self._cut.T @ y)

    def outside_longer(self, y: Float64[Tensor, "rows longer"]) -> Float64[Tensor, "rows longer"]:
        """What is left of every row, y - y W^T (W W^T)^+ W.

        One pass leaves a share of about eps * (sigma_1 / sigma_r)^2 inside the subspace, and
        every further pass multiplies what is left by the same factor.
        """
        if self.rank == self.wide.shape[1]:
            return torch.zeros_like(y)
        for _ in range(self._passes):
            if self._keeps_few:
                y = torch.addmm(y, y @ self._kept_longer.T, self._kept_longer, alpha=-1)
            else:
                y = torch.addmm(y, self._solve(self.wide @ y.T).T, self.wide, alpha=-1)
        return y

    def _solve(self, right: Float64[Tensor, "smaller rows"]) -> Float64[Tensor, "smaller rows"]:
        """The pseudo-inverse of the Gram matrix, cut at rank r, times `right`."""
        return torch.cholesky_solve(self._without_cut(right), self._cholesky)

    def _without_cut(
        self, right: Float64[Tensor, "smaller rows"]
    ) -> Float64[Tensor, "smaller rows"]:
        if self._has_full_rank:
            return right
        return torch.addmm(right, self._cut, self._cut.T @ right, alpha=-1)

    @property
    def _has_full_rank(self) -> bool:
        return self.rank == len(self.gram)

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
        if self._has_full_rank:
            return self.gram.new_empty(size, 0)
        return self._vectors[:, : size - self.rank]

    @property
    def _kept(self) -> Float64[Tensor, "smaller rank"]:
        """Those that it kept."""
        return self._vectors[:, -self.rank :]

    @cached_property
    def _kept_longer(self) -> Float64[Tensor, "rank longer"]:
        """The singular vectors of the longer side that the rank rule kept, as rows."""
        return (self._kept.T @ self.wide).div_(self.singular_values[: self.rank].flip(0)[:, None])

    @cached_property
    def _cholesky(self) -> Float64[Tensor, "smaller smaller"]:
        """Of the Gram matrix, with what was cut lifted to sigma_r^2 so that it can be inverted."""
        if self._has_full_rank:
            return torch.linalg.cholesky(self.gram)
        energies = self.singular_values.square()
        lift = energies[self.rank - 1] - energies[self.rank :].flip(0)
        return torch.linalg.cholesky(torch.addmm(self.gram, self._cut * lift, self._cut.T))
