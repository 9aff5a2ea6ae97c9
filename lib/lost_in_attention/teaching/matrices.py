"""Matrices that the checks of several chapters draw, in double precision."""

import torch
from jaxtyping import Float64
from torch import Tensor

Matrix = Float64[Tensor, "tokens features"]


def diagonal(*values: float) -> Matrix:
    """The square matrix with these on its diagonal."""
    return torch.diag(torch.tensor(values, dtype=torch.float64))


def gaussian(rows: int, columns: int, random: torch.Generator) -> Matrix:
    """Independent standard Gaussian entries."""
    return torch.randn(rows, columns, generator=random, dtype=torch.float64)


def low_rank(rows: int, columns: int, rank: int, random: torch.Generator) -> Matrix:
    """The product of two Gaussian matrices, of this rank unless the shape allows less."""
    return gaussian(rows, rank, random) @ gaussian(rank, columns, random)


def rotation(size: int, random: torch.Generator) -> Matrix:
    """A random orthogonal matrix."""
    return torch.linalg.qr(gaussian(size, size, random)).Q
