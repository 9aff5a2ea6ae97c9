"""The statements of chapter 04, one section each, named by their labels there."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import subspace_angles
from scipy.optimize import brentq

from lost_in_attention.metrics.rid import (
    effective_rank,
    feature_projector,
    rid,
    spectrum,
    spectrum_change,
    support_innovation,
    token_projector,
    update_geometry,
)
from lost_in_attention.teaching import CheckFailed
from lost_in_attention.teaching import rid as checks

SIZES = st.tuples(st.integers(1, 7), st.integers(1, 7))
RANKS = st.integers(1, 7)
SEEDS = st.integers(0, 10_000)
checked = settings(deadline=None, derandomize=True, max_examples=60)


def gaussian(rows: int, columns: int, seed: int) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(rows, columns, generator=random, dtype=torch.float64)


def of_rank(size: tuple[int, int], rank: int, seed: int) -> torch.Tensor:
    """A random state of this rank, or of full rank where that is less; far from lower ranks."""
    rank = min(rank, *size)
    left = torch.linalg.qr(gaussian(size[0], size[0], seed)).Q[:, :rank]
    right = torch.linalg.qr(gaussian(size[1], size[1], seed + 1)).Q[:rank]
    values = 0.5 + torch.rand(rank, generator=torch.Generator().manual_seed(seed)).double()
    return left * values @ right


def diagonal(*values: float) -> torch.Tensor:
    return torch.diag(torch.tensor(values, dtype=torch.float64))


def rank_of(x: torch.Tensor) -> int:
    return spectrum(x).rank


# --- thm-rid-range


@checked
@given(SIZES, RANKS, RANKS, SEEDS)
def test_rid_stays_within_its_range(size, before, after, seed):
    x, y = of_rank(size, before, seed), of_rank(size, after, seed + 5)
    q, ranks = min(size), [rank_of(x), rank_of(y)]
    change, innovation = rid(x, y)
    assert change <= (max(ranks) - 1) / q + 1e-6
    assert innovation <= 1 + 1e-12
    if sum(ranks) > q:
        assert innovation < 1 - 1e-9
    assert change + innovation < 2 - 1 / q


@pytest.mark.parametrize(("size", "ranks"), [((6, 9), (2, 4)), ((9, 5), (1, 4)), ((4, 4), (2, 2))])
def test_support_innovation_reaches_one_where_the_ranks_leave_room(size, ranks):
    before, after = torch.zeros(size), torch.zeros(size)
    for i in range(ranks[0]):
        before[i, i] = 1 + i
    for i in range(ranks[0], sum(ranks)):
        after[i, i] = 1 + i
    assert support_innovation(before, after) == pytest.approx(1)


@pytest.mark.parametrize("q", [1, 2, 8, 50])
def test_the_extreme_pair_comes_close_to_the_bound(q):
    flat, outside = torch.eye(q, q + 3), torch.zeros(q, q + 3)
    outside[0, -1] = 1
    expected = 1 - 1 / q + (1 + math.sqrt(1 - 1 / q)) / 2
    # Exact zeros come out as roots of rounding errors, so eRank of rank one is a little above 1.
    assert rid(outside, flat).total == pytest.approx(expected, abs=1e-6)
    assert rid(outside.T, flat.T).total == pytest.approx(expected, abs=1e-6)
    if q > 1:
        assert 2 - 3 / (2 * q) < expected < 2 - 1 / q


@checked
@given(st.integers(2, 7), SEEDS)
def test_full_spectrum_change_needs_rank_one_and_equal_values(q, seed):
    flat = torch.linalg.qr(gaussian(q, q, seed)).Q
    one = of_rank((q, q), 1, seed)
    assert spectrum_change(one, flat) == pytest.approx((q - 1) / q, abs=1e-6)
    uneven = flat @ diagonal(*([1.0] * (q - 1)), 0.5)
    assert spectrum_change(one, uneven) < (q - 1) / q - 1e-3


# --- lem-no-innovation


@checked
@given(SIZES, RANKS, SEEDS)
def test_no_innovation_means_inclusion(size, rank, seed):
    x = of_rank(size, rank, seed)
    inside = token_projector(x) @ gaussian(*size, seed + 9) @ feature_projector(x)
    assert support_innovation(x, inside) < 1e-9
    outside = gaussian(*size, seed + 9)
    projected = token_projector(x) @ outside @ feature_projector(x)
    contained = torch.allclose(projected, outside, atol=1e-7)
    assert (support_innovation(x, outside) < 1e-8) == contained


def test_lost_support_is_not_seen_and_the_two_ways_differ():
    full, faded = diagonal(1, 1), diagonal(1, 0)
    assert support_innovation(full, faded) == 0
    assert rid(full, faded).total == pytest.approx(0.5, abs=1e-6)
    assert rid(faded, full).total == pytest.approx(0.5 + math.sqrt(0.5), abs=1e-6)
    # The smallest strength is enough to be there already.
    assert support_innovation(diagonal(1, 1e-5), full) == pytest.approx(0, abs=1e-9)


# --- thm-f4-fails


def flattened(strength: float, rank: int) -> torch.Tensor:
    return diagonal(1.0, *[strength] * (rank - 1))


@pytest.mark.parametrize(("larger", "smaller"), [(3, 2), (4, 3), (7, 2), (7, 6), (12, 5)])
def test_rid_zero_between_states_of_different_rank(larger, smaller):
    strength = brentq(lambda t: effective_rank(flattened(t, larger)) - smaller, 1e-9, 1)
    before = flattened(strength, larger)
    after = diagonal(*[1.0] * smaller, *[0.0] * (larger - smaller))
    assert (rank_of(before), rank_of(after)) == (larger, smaller)
    assert rid(before, after).total == pytest.approx(0, abs=1e-6)
    assert rid(after, before).support_innovation > 0.05


def test_the_counterexample_lies_near_few_dimensions_of_many():
    """The manifold hypothesis, read as few dimensions among many, does not exclude it."""
    strength = brentq(lambda t: effective_rank(flattened(t, 3)) - 2, 1e-9, 1)
    left, right = (torch.linalg.qr(gaussian(size, 3, size))[0] for size in (40, 60))
    states = [left @ core @ right.T for core in (flattened(strength, 3), diagonal(1, 1, 0))]
    assert [rank_of(state) for state in states] == [3, 2] and states[0].shape == (40, 60)
    assert rid(*states).total == pytest.approx(0, abs=1e-6)


def test_the_smallest_counterexample_is_the_one_on_record():
    strength = brentq(lambda t: effective_rank(flattened(t, 3)) - 2, 1e-9, 1)
    assert strength == pytest.approx(0.146908, abs=1e-6)


@checked
@given(st.integers(2, 7), st.integers(2, 7), SEEDS)
def test_at_rank_two_the_theorem_stands(tokens, features, seed):
    """Within the spaces of a state of rank 2, a state of rank 1 has another effective rank."""
    x = of_rank((tokens, features), 2, seed)
    inside = x @ gaussian(features, 1, seed + 1) @ gaussian(1, tokens, seed + 2) @ x
    assert support_innovation(x, inside) < 1e-7
    assert spectrum_change(x, inside) > 1e-3


def test_rid_zero_leaves_the_singular_values_free():
    before = diagonal(1, 0.4, 0.4)
    target = effective_rank(before)
    weak = brentq(lambda t: effective_rank(diagonal(1, 1, t)) - target, 1e-9, 1)
    after = diagonal(1, 1, weak)
    assert rid(before, after).total == pytest.approx(0, abs=1e-6)
    assert abs(weak - 0.4) > 0.05


# --- thm-f4-repaired


@checked
@given(SIZES, RANKS, RANKS, SEEDS, st.booleans())
def test_the_three_conditions_agree(size, before, after, seed, inside):
    x, y = of_rank(size, before, seed), of_rank(size, after, seed + 5)
    if inside:
        y = token_projector(x) @ y @ feature_projector(x)
        if float(y.norm()) < 1e-6:
            return
    equal = all(
        torch.allclose(projector(x), projector(y), atol=1e-6)
        for projector in (token_projector, feature_projector)
    )
    forth, back = support_innovation(x, y) < 1e-8, support_innovation(y, x) < 1e-8
    assert equal == (forth and back) == (forth and rank_of(x) == rank_of(y))


@checked
@given(SIZES, RANKS, SEEDS, st.sampled_from([1e-4, 1e-2, 1.0]))
def test_at_equal_rank_innovation_bounds_the_largest_angle(size, rank, seed, step):
    x = of_rank(size, rank, seed)
    turn = torch.linalg.matrix_exp(step * (lambda a: a - a.T)(gaussian(size[1], size[1], seed + 3)))
    tilt = torch.linalg.matrix_exp(step * (lambda a: a - a.T)(gaussian(size[0], size[0], seed + 4)))
    y = tilt @ x @ turn
    kept = spectrum(y)
    weakest = float(kept.singular_values[kept.rank - 1])
    bound = 2 * float(y.norm()) / weakest * support_innovation(x, y)
    for one, other in ((x.T, y.T), (x, y)):
        # Bases first: subspace_angles takes every column for a direction.
        spans = [torch.linalg.svd(z, full_matrices=False).U[:, : kept.rank] for z in (one, other)]
        assert math.sin(subspace_angles(*spans).max()) <= bound + 1e-7


# --- thm-column-term


@checked
@given(SIZES, SEEDS)
def test_at_full_rank_one_term_vanishes_and_mixing_adds_nothing(size, seed):
    x, y = of_rank(size, 7, seed), gaussian(*size, seed + 1)
    innovation = support_innovation(x, y)
    assert innovation <= 0.5 + 1e-12
    if size[0] <= size[1]:
        assert torch.allclose(token_projector(x), torch.eye(size[0], dtype=torch.float64))
        assert support_innovation(x, gaussian(size[0], size[0], seed + 2) @ x) < 1e-7
    if size[0] >= size[1]:
        assert torch.allclose(feature_projector(x), torch.eye(size[1], dtype=torch.float64))
        assert support_innovation(x, x @ gaussian(size[1], size[1], seed + 2)) < 1e-7
    if size[0] == size[1]:
        assert innovation == 0


def test_one_half_is_reached_by_orthogonal_rows():
    before, after = torch.zeros(3, 7), torch.zeros(3, 7)
    before[:, :3], after[:, 3:6] = torch.eye(3), torch.eye(3)
    assert support_innovation(before, after) == pytest.approx(0.5)


def test_mixing_tokens_of_a_deficient_state_may_be_new_to_the_column_space():
    before = torch.tensor([[1.0, 2.0, 0.0], [0.0, 0.0, 0.0]])
    swapped = before.flip(0)
    assert support_innovation(before, swapped) == pytest.approx(0.5)


# --- thm-chance-novelty


@pytest.mark.parametrize(("size", "rank"), [((6, 20), 6), ((6, 20), 3), ((20, 6), 6), ((8, 8), 4)])
def test_the_novelty_of_noise(size, rank):
    x = of_rank(size, rank, 1)
    shares = []
    for seed in range(2000):
        factors = update_geometry(spectrum(x), x + gaussian(*size, 100 + seed)).factors
        shares.append([factors.token_novelty**2, factors.feature_novelty**2])
    means = torch.tensor(shares).mean(0).tolist()
    expected = [1 - rank / size[0], 1 - rank / size[1]]
    assert means == pytest.approx(expected, abs=0.01)


# --- thm-size-novelty


@checked
@given(SIZES, RANKS, SEEDS, st.sampled_from([1e-3, 0.3, 4.0, 100.0]))
def test_support_innovation_is_size_times_novelty(size, rank, seed, factor):
    x, update = of_rank(size, rank, seed), gaussian(*size, seed + 1)
    found, scaled = (update_geometry(x, x + f * update) for f in (1.0, factor))
    for geometry in (found, scaled):
        novelty = (geometry.factors.token_novelty + geometry.factors.feature_novelty) / 2
        product = geometry.factors.size * novelty
        assert geometry.rid.support_innovation == pytest.approx(product, abs=1e-9)
        limit = geometry.factors.size / (2 if rank_of(x) == min(size) else 1)
        assert geometry.rid.support_innovation <= limit + 1e-12
    assert scaled.factors[1:] == pytest.approx(found.factors[1:], abs=1e-6)


# --- exercises: answers that a learner may well try


def spaces_only(before, after):
    gap = feature_projector(before) - feature_projector(after)
    return float(torch.linalg.matrix_norm(gap, 2))


TEMPTING = {
    "the other way": (checks.check_lost_support, support_innovation),
    "shares of the state": (
        checks.check_update_factors,
        lambda x, d: (float(d.norm() / x.norm()), *update_geometry(x, x + d).factors[1:]),
    ),
    "two flat states": (
        checks.check_counterexample,
        lambda r, k: (diagonal(*[1.0] * r), diagonal(*[1.0] * k, *[0.0] * (r - k))),
    ),
    "distance of projectors": (checks.check_support_distance, spaces_only),
    "mean of both ways": (
        checks.check_support_distance,
        lambda x, y: (support_innovation(x, y) + support_innovation(y, x)) / 2,
    ),
}


@pytest.mark.parametrize("name", TEMPTING)
def test_tempting_answers_fail(name):
    check, answer = TEMPTING[name]
    with pytest.raises(CheckFailed):
        check(answer)
