"""Checks for the exercises of chapter 03, subspaces and projectors."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from lost_in_attention.teaching import (
    Watched,
    exercise_check,
    numbers,
    require,
    require_close,
    require_equal,
)
from lost_in_attention.teaching.matrices import diagonal, gaussian, rotation

Basis = Float64[Tensor, "d r"]
Projector = Float64[Tensor, "d d"]


@exercise_check
def check_projector(projector: Callable[[Basis], Projector]) -> None:
    """The properties that single out the orthogonal projector, and no dependence on the basis."""
    random = torch.Generator().manual_seed(0)
    for size, rank in ((5, 2), (8, 7), (6, 1)):
        basis = gaussian(size, rank, random)
        p = numbers("projector", projector(basis), size, size)
        require_equal("P transposed should be P", p.T, p)
        require_equal("P P should be P", p @ p, p)
        require_equal("P should leave its basis alone", p @ basis, basis)
        require_close("trace of P, which is the dimension", float(p.trace()), rank)
        mixed = basis @ gaussian(rank, rank, random)
        require_equal("another basis of the same space", projector(mixed), p, tolerance=1e-6)


@exercise_check
def check_residual_norm(
    residual_norm: Callable[[Float[Tensor, "d r"], Float[Tensor, " d"]], float],
) -> None:
    """Vectors built with a known residual, down to a few roundings, in single precision."""
    random = torch.Generator().manual_seed(1)
    frame = rotation(512, random)
    single = frame[:, :500].float()
    # What single precision made of the basis, in double.
    exact = torch.linalg.qr(single.double()).Q
    for share, error in ((0.5, 0.01), (1e-2, 0.01), (1e-4, 0.01), (5e-7, 0.2)):
        inside = frame[:, :500] @ torch.randn(500, generator=random, dtype=torch.float64)
        y = (inside / inside.norm() + share * frame[:, 505]).float()
        truth = float((y.double() - exact @ (exact.T @ y.double())).norm())
        with Watched() as seen:
            got = residual_norm(single, y)
        what = f"residual of a vector with a share of {share:g} outside"
        require_close(what, got, truth, tolerance=error * truth)
        require(torch.float64 not in seen.formats, "expected single precision, got double")
        require(not seen.left, "expected torch alone, so that the precision is seen; got numpy")


@exercise_check
def check_principal_angles(
    principal_angles: Callable[[Basis, Basis], Float64[Tensor, " r"]],
) -> None:
    """Spaces built from known angles, tiny ones included, in bases of all kinds."""
    random = torch.Generator().manual_seed(2)
    for angles in ([0.3, 1.2], [0.0, 0.7], [1e-9, math.pi / 2], [0.4, 0.4]):
        turn = rotation(9, random)
        angle = torch.tensor(angles, dtype=torch.float64)
        one = turn[:, :2]
        other = one * angle.cos() + turn[:, 2:4] * angle.sin()
        mix = torch.tensor([[1.0, 2.0], [0.5, -1.0]], dtype=torch.float64)
        for a, b in ((one, other), (other, one), (one @ mix, other), (one, 3 * other @ mix)):
            found = numbers("principal_angles", principal_angles(a, b), 2)
            for got, expected in zip(found.sort().values, angle.sort().values, strict=True):
                what = f"angle between spaces built at {angles} (radians)"
                require_close(what, float(got), float(expected), tolerance=1e-12)


@exercise_check
def check_soft_projector(
    soft_projector: Callable[[Float64[Tensor, "tokens features"], float], Projector],
) -> None:
    """A symmetric map between 0 and I that tends to the projector and never jumps."""
    random = torch.Generator().manual_seed(3)
    x = diagonal(4.0, 1.0, 1e-3, 0.0)
    p = soft_projector(x, 1e-6)
    expected = diagonal(1.0, 1.0, 1.0, 0.0)
    require_equal("width far below every positive value", p, expected, tolerance=1e-4)
    p = soft_projector(x, 0.05)
    expected = diagonal(1.0, 1.0, 0.0, 0.0)
    require_equal("width between the values", p, expected, tolerance=1e-2)
    for width in (0.01, 0.3, 2.0):
        for _ in range(10):
            x = gaussian(5, 7, random)
            x[4] = x[3]
            step = 0.1 * width * gaussian(5, 7, random)
            both = (soft_projector(x, width), soft_projector(x + step, width))
            p, moved = (numbers("soft_projector", each, 7, 7) for each in both)
            require_equal("P transposed should be P", p.T, p)
            values = torch.linalg.eigvalsh(p)
            inside = float(values.min()) > -1e-9 and float(values.max()) < 1 + 1e-9
            require(inside, f"eigenvalues should lie in [0, 1], got {values.tolist()}")
            jump, size = (float(torch.linalg.matrix_norm(m, 2)) for m in (moved - p, step))
            require(
                jump <= size / width + 1e-9,
                f"a step of {size:.3g} at width {width} moved it by {jump:.3g}, "
                f"more than {size / width:.3g}",
            )
