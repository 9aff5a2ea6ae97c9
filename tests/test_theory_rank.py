"""The statements of chapters 02 and 03, one section each, named by their labels there."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import subspace_angles

from lost_in_attention.metrics.rank_rules import NUMERICAL_RANK
from lost_in_attention.metrics.rid import (
    ExplainedEnergy,
    effective_rank,
    feature_projector,
    spectrum,
    token_projector,
)

SIZES = st.tuples(st.integers(1, 7), st.integers(1, 7))
SEEDS = st.integers(0, 10_000)
# Positive singular values over three decades, with ties.
VALUES = st.lists(st.sampled_from([1e-2, 0.1, 0.5, 1.0, 1.0, 3.0, 10.0]), min_size=1, max_size=8)
checked = settings(deadline=None, derandomize=True, max_examples=60)


def gaussian(rows: int, columns: int, seed: int) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(rows, columns, generator=random, dtype=torch.float64)


def rotation(size: int, seed: int) -> torch.Tensor:
    return torch.linalg.qr(gaussian(size, size, seed)).Q


def diagonal(values: list[float]) -> torch.Tensor:
    return torch.diag(torch.tensor(values, dtype=torch.float64))


def span(dimension: int, size: int, seed: int) -> torch.Tensor:
    """An orthonormal basis of a random subspace."""
    return rotation(size, seed)[:, :dimension]


def norm2(x: torch.Tensor) -> float:
    return float(torch.linalg.matrix_norm(x, 2))


# --- def-svd


@checked
@given(SIZES, SEEDS)
def test_the_energy_is_the_sum_of_squares(size, seed):
    x = gaussian(*size, seed)
    state = spectrum(x)
    assert float(state.singular_values.square().sum()) == pytest.approx(float(x.norm()) ** 2)


# --- thm-erank-range


@checked
@given(VALUES, st.integers(0, 3))
def test_effective_rank_lies_between_one_and_rank(values, zeros):
    x = diagonal(values + [0.0] * zeros)
    found = effective_rank(x)
    assert 1 - 1e-9 <= found <= len(values) + 1e-9
    if len(values) > 1:
        assert found > 1 + 1e-3
    all_equal = len(set(values)) == 1
    assert (abs(found - len(values)) < 1e-9) == all_equal


@checked
@given(SIZES, SEEDS, st.sampled_from([-4.0, 1e-3, 1e4]))
def test_effective_rank_ignores_scale_rotation_and_transposition(size, seed, factor):
    x = gaussian(*size, seed)
    turned = rotation(size[0], seed + 1) @ x @ rotation(size[1], seed + 2)
    for other in (factor * x, turned, x.T):
        assert effective_rank(other) == pytest.approx(effective_rank(x), rel=1e-9)


# --- thm-order-of-counts


def chain(values: list[float]) -> list[float]:
    """Stable rank, participation ratio, exp of the energy entropy, eRank, rank."""
    sigma = torch.tensor(values, dtype=torch.float64)
    q = sigma.square() / sigma.square().sum()
    entropy = float(torch.special.entr(q).sum().exp())
    found = effective_rank(torch.diag(sigma))
    return [float(1 / q.max()), float(1 / q.square().sum()), entropy, found, len(values)]


@checked
@given(VALUES)
def test_the_counts_stand_in_order_and_meet_only_at_equal_values(values):
    numbers = [1.0, *chain(values)]
    assert all(a <= b + 1e-9 for a, b in itertools.pairwise(numbers))
    if len(set(values)) > 1:
        assert all(a < b for a, b in itertools.pairwise(numbers))
    else:
        assert numbers[1:] == pytest.approx([len(values)] * 5)


@checked
@given(VALUES, st.floats(0.1, 4), st.floats(0.01, 2))
def test_the_entropy_of_the_family_falls_at_the_rate_of_the_proof(values, beta, further):
    sigma = torch.tensor(values, dtype=torch.float64)

    def member(b):
        return sigma**b / (sigma**b).sum()

    def entropy(b):
        return float(torch.special.entr(member(b)).sum())

    assert entropy(beta + further) <= entropy(beta) + 1e-12
    p, logs = member(beta), sigma.log()
    variance = float((p * logs.square()).sum() - (p * logs).sum() ** 2)
    slope = (entropy(beta + 1e-5) - entropy(beta - 1e-5)) / 2e-5
    assert slope == pytest.approx(-beta * variance, abs=1e-5)


# --- lem-weyl and thm-eckart-young


@checked
@given(SIZES, SEEDS, st.integers(0, 6))
def test_weyl_and_eckart_young_for_random_low_rank_matrices(size, seed, k):
    x, q = gaussian(*size, seed), min(size)
    k = min(k, q)
    y = gaussian(size[0], k, seed + 1) @ gaussian(k, size[1], seed + 2)
    sigma, rest = torch.linalg.svdvals(x), torch.linalg.svdvals(x - y)
    assert bool((sigma[k:] <= rest[: q - k] + 1e-9).all())
    assert float(sigma[k:].norm()) <= float((x - y).norm()) + 1e-9


@checked
@given(SIZES, SEEDS)
def test_the_truncation_attains_the_bound(size, seed):
    x = gaussian(*size, seed)
    u, sigma, vt = torch.linalg.svd(x, full_matrices=False)
    for k in range(min(size) + 1):
        truncated = (u[:, :k] * sigma[:k]) @ vt[:k]
        assert float((x - truncated).norm()) == pytest.approx(float(sigma[k:].norm()), abs=1e-9)


# --- thm-erank-and-error


@checked
@given(VALUES)
def test_a_small_effective_rank_bounds_the_rank_one_error(values):
    energies = torch.tensor(values, dtype=torch.float64).square()
    missed = float(1 - energies.max() / energies.sum())
    assert missed <= 1 - 1 / effective_rank(diagonal(values)) + 1e-9


@pytest.mark.parametrize("m", [1, 4, 25, 900])
def test_a_large_effective_rank_bounds_nothing(m):
    x = diagonal([1.0] + [1 / m] * m)
    assert effective_rank(x) == pytest.approx(2 * math.sqrt(m))
    energies = spectrum(x).singular_values.square()
    assert float(energies[1:].sum() / energies.sum()) == pytest.approx(1 / (m + 1))


# --- thm-projector


@checked
@given(st.integers(1, 6), st.integers(1, 6), SEEDS)
def test_a_projector_belongs_to_the_space_and_not_to_the_basis(rank, extra, seed):
    size = rank + extra
    u = span(rank, size, seed)
    p = u @ u.T
    other = u @ rotation(rank, seed + 1)
    assert torch.allclose(other @ other.T, p)
    assert torch.allclose(p @ p, p) and float(p.trace()) == pytest.approx(rank)
    # Back from P to its space: the eigenvectors of eigenvalue 1.
    values, vectors = torch.linalg.eigh(p)
    kept = vectors[:, values > 0.5]
    assert torch.allclose(kept @ kept.T, p)


@checked
@given(SIZES, SEEDS)
def test_mixing_tokens_keeps_the_row_space_and_mixing_features_the_column_space(size, seed):
    x = gaussian(*size, seed)
    # Far from singular, so that the mixture is not near a lower rank.
    tokens = rotation(size[0], seed + 1) + 2 * torch.eye(size[0], dtype=torch.float64)
    features = rotation(size[1], seed + 2) + 2 * torch.eye(size[1], dtype=torch.float64)
    assert torch.allclose(feature_projector(tokens @ x), feature_projector(x), atol=1e-7)
    assert torch.allclose(token_projector(x @ features), token_projector(x), atol=1e-7)


# --- thm-innovation


@checked
@given(st.integers(1, 5), st.integers(1, 5), SEEDS)
def test_innovation_is_the_distance_to_the_subspace(rank, extra, seed):
    u = span(rank, rank + extra, seed)
    y, point = gaussian(rank + extra, 1, seed + 1), u @ gaussian(rank, 1, seed + 2)
    inside = u @ (u.T @ y)
    new = y - inside
    squares = float(new.norm()) ** 2 + float((inside - point).norm()) ** 2
    assert float((y - point).norm()) ** 2 == pytest.approx(squares)
    assert float(new.norm()) <= float((y - point).norm()) + 1e-12


# --- thm-angles


@checked
@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 4), SEEDS)
def test_what_the_angles_decide(r, more, room, seed):
    s, size = r + more - 1, r + more - 1 + room
    u, v = span(r, size, seed), span(s, size, seed + 1)
    angles = torch.tensor(subspace_angles(u.numpy(), v.numpy()))
    outside = u - v @ (v.T @ u)
    assert float(outside.norm()) ** 2 == pytest.approx(float(angles.sin().square().sum()))
    assert int((angles < 1e-6).sum()) == max(0, r + s - size)
    distance = norm2(u @ u.T - v @ v.T)
    assert distance <= 1 + 1e-9
    if r != s:
        assert distance == pytest.approx(1)


# --- thm-gap


@checked
@given(SIZES, st.integers(1, 6), SEEDS, st.sampled_from([1e-3, 0.1, 1.0]))
def test_a_gap_holds_the_row_space(size, rank, seed, step):
    rank = min(rank, *size)
    x = gaussian(size[0], rank, seed) @ gaussian(rank, size[1], seed + 1)
    after = x + step * gaussian(*size, seed + 2)
    kept = spectrum(after)
    identity = torch.eye(size[1], dtype=torch.float64)
    turned = norm2((identity - feature_projector(x)) @ feature_projector(after))
    weakest = float(kept.singular_values[kept.rank - 1])
    assert turned <= norm2(after - x) / weakest + 1e-8


def test_the_bound_of_the_gap_is_attained():
    x, after = diagonal([1.0, 0.0]), diagonal([1.0, 0.2])
    turned = norm2((torch.eye(2) - feature_projector(x)) @ feature_projector(after))
    assert turned == pytest.approx(norm2(after - x) / 0.2) == pytest.approx(1)


# --- thm-no-rule-escapes


@pytest.mark.parametrize("rule", [NUMERICAL_RANK, ExplainedEnergy(0.9), ExplainedEnergy(0.999)])
def test_on_any_path_between_two_ranks_the_projector_jumps(rule):
    """Bisection finds neighbours as near as double precision allows, at distance 1."""
    one, other = diagonal([1.0, 1e-9, 1e-9]), diagonal([1.0, 0.9, 0.8])

    def kept(x):
        return spectrum(x, rank_rule=rule).rank

    assert kept(one) != kept(other)
    for _ in range(45):
        middle = (one + other) / 2
        one, other = (middle, other) if kept(middle) == kept(one) else (one, middle)
    assert norm2(one - other) < 1e-12
    gap = feature_projector(one, rank_rule=rule) - feature_projector(other, rank_rule=rule)
    assert norm2(gap) == pytest.approx(1)
    assert effective_rank(one) == pytest.approx(effective_rank(other), abs=1e-9)


# --- ex-soft-projector


@checked
@given(SIZES, SEEDS, st.sampled_from([0.05, 0.5, 3.0]), st.sampled_from([1e-3, 0.1, 2.0]))
def test_the_soft_projector_moves_no_faster_than_its_bound(size, seed, width, step):
    def soft(x):
        gram = x @ x.T + width**2 * torch.eye(len(x), dtype=x.dtype)
        return x.T @ torch.linalg.solve(gram, x)

    x, move = gaussian(*size, seed), step * gaussian(*size, seed + 1)
    assert norm2(soft(x + move) - soft(x)) <= norm2(move) / width + 1e-9
