"""Spectrum and support: closed forms, invariances, a reference by SVD, messages."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lost_in_attention.metrics.rid import (
    NUMERICAL_RANK,
    ExplainedEnergy,
    NonFiniteError,
    effective_rank,
    feature_projector,
    rid,
    spectrum,
    spectrum_change,
    support_innovation,
    token_projector,
    update_geometry,
)

SHAPES = [(5, 9), (9, 5), (7, 7), (1, 6), (6, 1), (40, 90), (90, 40)]
WIDE_AND_TALL = [(6, 15), (15, 6)]
repeatable = settings(deadline=None, derandomize=True, max_examples=40)
shapes = st.tuples(st.integers(1, 8), st.integers(1, 8))
seeds = st.integers(0, 2**31)


def gaussian(rows: int, columns: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, columns, generator=generator, dtype=torch.float64)


def rotation(size: int, seed: int = 0) -> torch.Tensor:
    return torch.linalg.qr(gaussian(size, size, seed))[0]


def with_values(values: list[float], tokens: int, features: int, seed: int = 0) -> torch.Tensor:
    """A state with these singular values and random singular vectors."""
    left = rotation(tokens, seed)[:, : len(values)]
    right = rotation(features, seed + 1)[:, : len(values)]
    return left * torch.tensor(values, dtype=torch.float64) @ right.T


def diagonal(*values: float) -> torch.Tensor:
    return torch.diag(torch.tensor(values, dtype=torch.float64))


def by_svd(before: torch.Tensor, after: torch.Tensor, rank_rule=NUMERICAL_RANK) -> list[float]:
    """Delta S, Delta D, size and both novelties as the definitions write them."""
    before, after = before.double(), after.double()
    left, values, right = torch.linalg.svd(before, full_matrices=False)
    rank = rank_rule(values, before.shape)
    p_tokens = left[:, :rank] @ left[:, :rank].T
    p_features = right[:rank].T @ right[:rank]
    eranks = []
    for sigma in (values, torch.linalg.svdvals(after)):
        p = sigma[sigma > 0] / sigma.sum()
        eranks.append(torch.exp(-(p * p.log()).sum()))
    update = after - before
    outside = (after - p_tokens @ after).norm() + (after - after @ p_features).norm()
    return [
        float(abs(eranks[1] - eranks[0]) / min(before.shape)),
        float(outside / (2 * after.norm())),
        float(update.norm() / after.norm()),
        float((update - p_tokens @ update).norm() / update.norm()),
        float((update - update @ p_features).norm() / update.norm()),
    ]


def measured(before, after, rank_rule=NUMERICAL_RANK) -> list[float]:
    geometry = update_geometry(before, after, rank_rule=rank_rule)
    return [*geometry.rid, *geometry.factors]


# Effective rank


@pytest.mark.parametrize("size", [1, 2, 7])
def test_identity_has_full_effective_rank(size):
    assert effective_rank(torch.eye(size)) == pytest.approx(size, abs=1e-12)


@pytest.mark.parametrize(("tokens", "features"), WIDE_AND_TALL)
def test_known_spectra(tokens, features):
    state = spectrum(with_values([2, 1, 1], tokens, features))
    assert state.rank == 3
    # p = (1/2, 1/4, 1/4) has entropy 1.5 log 2; zeros come out as roots of rounding errors.
    assert state.effective_rank == pytest.approx(2**1.5, abs=1e-5)
    assert state.singular_values[:3].tolist() == pytest.approx([2, 1, 1], abs=1e-12)
    assert state.squared_norm == pytest.approx(6, abs=1e-12)


def test_rank_one():
    state = spectrum(gaussian(8, 1) @ gaussian(1, 5, seed=1))
    assert state.rank == 1
    assert state.effective_rank == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("size", [2, 5, 9])
def test_spectrum_change_reaches_its_largest_value(size):
    """Lemma F.1 can be sharpened: eRank lies in [1, Q], so Delta S is at most (Q - 1) / Q."""
    rank_one = torch.zeros(size, size)
    rank_one[0, 0] = 1
    assert spectrum_change(rank_one, torch.eye(size)) == pytest.approx((size - 1) / size, abs=1e-12)


@repeatable
@given(shapes, seeds)
def test_ranges(shape, seed):
    before, after = gaussian(*shape, seed), gaussian(*shape, seed + 1)
    smaller = min(shape)
    result = update_geometry(before, after)
    assert 0 <= result.rid.spectrum_change <= (smaller - 1) / smaller + 1e-12
    assert 0 <= result.rid.support_innovation <= 0.5 + 1e-12
    assert 0 <= result.factors.token_novelty <= 1 + 1e-12
    assert 0 <= result.factors.feature_novelty <= 1 + 1e-12


# Against the definitions


@pytest.mark.parametrize(("tokens", "features"), SHAPES)
@pytest.mark.parametrize("decades", [0, 2, 3.3])
def test_full_rank_matches_svd(tokens, features, decades):
    values = torch.logspace(0, -decades, min(tokens, features)).tolist()
    before = with_values(values, tokens, features)
    after = before + 0.1 * gaussian(tokens, features, seed=2)
    assert spectrum(before).has_full_rank
    assert measured(before, after) == pytest.approx(by_svd(before, after), abs=1e-9)


@pytest.mark.parametrize(("tokens", "features"), [*WIDE_AND_TALL, (8, 8)])
@pytest.mark.parametrize(
    ("rank_rule", "rank"),
    [(NUMERICAL_RANK, 4), (ExplainedEnergy(0.9), 2), (ExplainedEnergy(1.0), 4)],
)
def test_rank_deficient_matches_svd(tokens, features, rank_rule, rank):
    before = with_values([2, 1.5, 0.5, 0.01], tokens, features)
    after = before + 0.1 * gaussian(tokens, features, seed=2)
    assert spectrum(before, rank_rule=rank_rule).rank == rank
    reference = by_svd(before, after, lambda *_: rank)
    result = measured(before, after, rank_rule)
    # The spectrum change is coarser: exact zeros come out as roots of rounding errors.
    assert result[0] == pytest.approx(reference[0], abs=1e-6)
    assert result[1:] == pytest.approx(reference[1:], abs=1e-9)


def test_ill_conditioned_gram_needs_and_gets_a_second_pass():
    """Singular values over six decades: one pass would leave about 1e-4 inside the space."""
    values = torch.logspace(0, -6, 6, dtype=torch.float64).tolist()
    state = spectrum(with_values(values, 6, 9), rank_rule=ExplainedEnergy(1.0))
    assert state.has_full_rank
    inside = gaussian(20, 6) @ torch.linalg.qr(state.matrix.T)[0].T
    assert float(state.residual_features(inside).norm() / inside.norm()) < 1e-9


def test_a_small_residual_keeps_its_digits():
    """In float32, sqrt(|Y|^2 - |Y P|^2) would return noise here; the residual is 1e-6 of |Y|."""
    turn = rotation(12)
    before = (torch.eye(4, 12, dtype=torch.float64) * 3) @ turn
    inside = torch.cat([gaussian(4, 4), torch.zeros(4, 8, dtype=torch.float64)], 1)
    outside = torch.cat([torch.zeros(4, 4, dtype=torch.float64), gaussian(4, 8, seed=1)], 1)
    update = (inside / inside.norm() + 1e-6 * outside / outside.norm()) @ turn
    novelty = update_geometry(before, before + update).factors.feature_novelty
    assert novelty == pytest.approx(1e-6, rel=1e-8)


@pytest.mark.parametrize(("tokens", "features"), [*WIDE_AND_TALL, (8, 8)])
def test_projectors(tokens, features):
    state = with_values([3, 1, 0.2], tokens, features)
    for projector in (token_projector(state), feature_projector(state)):
        torch.testing.assert_close(projector, projector.T)
        torch.testing.assert_close(projector @ projector, projector)
        assert float(projector.trace()) == pytest.approx(3, abs=1e-10)
    torch.testing.assert_close(token_projector(state) @ state, state)
    torch.testing.assert_close(state @ feature_projector(state), state)


# Properties of innovation


@pytest.mark.parametrize(("tokens", "features"), [(5, 9), (9, 5), (7, 7)])
def test_a_space_that_is_filled_leaves_exactly_nothing(tokens, features):
    """At full rank P_C = I if S <= H and P_R = I if S >= H, so Delta D is at most 1/2."""
    before, after = gaussian(tokens, features), gaussian(tokens, features, seed=1)
    state, factors = spectrum(before), update_geometry(before, after).factors
    if tokens <= features:
        assert not state.residual_tokens(after).any()
        assert factors.token_novelty == 0
    if tokens >= features:
        assert not state.residual_features(after).any()
        assert factors.feature_novelty == 0
    if tokens != features:
        assert max(factors[1:]) > 0
    assert support_innovation(before, after) <= 0.5


@repeatable
@given(st.integers(1, 8), st.integers(0, 8), seeds)
def test_mixing_tokens_brings_no_new_features(tokens, extra, seed):
    """X' = A X keeps every row in the old feature space; at full rank nothing else can be new."""
    before = gaussian(tokens, tokens + extra, seed)
    after = gaussian(tokens, tokens, seed + 1) @ before
    result = update_geometry(before, after)
    scale = float(spectrum(before).singular_values[0] / after.norm())
    assert result.rid.support_innovation <= 1e-9 * max(1, scale)


def test_mixing_tall_states_brings_new_token_directions_only():
    before = gaussian(15, 6)
    factors = update_geometry(before, gaussian(15, 15, seed=1) @ before).factors
    assert factors.feature_novelty == 0
    assert factors.token_novelty > 0.1


@pytest.mark.parametrize(("tokens", "features"), [*WIDE_AND_TALL, (8, 8), (1, 4)])
def test_no_update_no_discrepancy(tokens, features):
    state = gaussian(tokens, features)
    result = update_geometry(state, state.clone())
    assert result.rid.total == 0
    assert result.factors.size == 0
    assert math.isnan(result.factors.token_novelty)
    assert math.isnan(result.factors.feature_novelty)


@repeatable
@given(shapes, seeds, st.floats(1e-3, 10))
def test_innovation_is_size_times_mean_novelty(shape, seed, size):
    before = gaussian(*shape, seed)
    after = before + size * gaussian(*shape, seed + 1)
    result = update_geometry(before, after)
    product = result.factors.size * sum(result.factors[1:]) / 2
    assert product == pytest.approx(result.rid.support_innovation, rel=1e-12, abs=1e-15)


def test_innovation_splits_for_rank_deficient_states_too():
    before = with_values([2, 1], 6, 9)
    result = update_geometry(before, before + gaussian(6, 9, seed=3))
    assert result.factors.token_novelty > 0.1
    product = result.factors.size * sum(result.factors[1:]) / 2
    assert product == pytest.approx(result.rid.support_innovation, rel=1e-12)


def test_what_the_rule_cuts_of_the_state_counts_as_new():
    """diag(1, 0.1) cut to rank 1 and not updated: of X', 0.1 lies outside on both sides."""
    before = diagonal(1, 0.1)
    result = rid(before, before, rank_rule=ExplainedEnergy(0.9))
    assert result.support_innovation == pytest.approx(0.1 / math.hypot(1, 0.1), rel=1e-12)


def test_rid_is_not_symmetric_and_blind_to_lost_support():
    full, half = diagonal(1, 1), diagonal(1, 0)
    assert support_innovation(full, half) == 0
    assert support_innovation(half, full) == pytest.approx(1 / math.sqrt(2), abs=1e-12)
    assert rid(full, half).total == pytest.approx(0.5, abs=1e-12)
    assert rid(half, full).total == pytest.approx(0.5 + 1 / math.sqrt(2), abs=1e-12)


def test_theorem_f4_needs_equal_rank():
    """RID is zero although the ranks are 3 and 2: equal eRank does not imply equal rank."""
    t = 0.146908
    before, after = diagonal(1, t, t), diagonal(1, 1, 0)
    assert effective_rank(before) == pytest.approx(2, abs=1e-5)
    assert effective_rank(after) == pytest.approx(2, abs=1e-12)
    assert rid(before, after).total == pytest.approx(0, abs=1e-6)
    assert (spectrum(before).rank, spectrum(after).rank) == (3, 2)
    assert support_innovation(after, before) > 0.05


# Invariances


@repeatable
@given(shapes, seeds, st.floats(1e-6, 1e6))
def test_rotations_and_scales_change_nothing(shape, seed, factor):
    before = gaussian(*shape, seed)
    after = before + 0.3 * gaussian(*shape, seed + 1)
    left, right = rotation(shape[0], seed + 2), rotation(shape[1], seed + 3)
    turned = [factor * left @ state @ right for state in (before, after)]
    assert measured(*turned) == pytest.approx(measured(before, after), abs=1e-7)


@repeatable
@given(shapes, seeds)
def test_order_of_tokens_does_not_matter(shape, seed):
    before, after = gaussian(*shape, seed), gaussian(*shape, seed + 1)
    order = torch.randperm(shape[0], generator=torch.Generator().manual_seed(seed))
    assert measured(before[order], after[order]) == pytest.approx(measured(before, after), abs=1e-7)


@repeatable
@given(shapes, seeds)
def test_transposing_swaps_tokens_and_features(shape, seed):
    before, after = gaussian(*shape, seed), gaussian(*shape, seed + 1)
    change, innovation, size, tokens, features = measured(before, after)
    assert measured(before.T, after.T) == pytest.approx(
        [change, innovation, size, features, tokens], abs=1e-7
    )


# Rank rules


def test_support_jumps_where_a_value_crosses_the_cutoff():
    cutoff = 2 * torch.finfo(torch.float32).eps
    after = diagonal(1, 1)
    below, above = diagonal(1, 0.99 * cutoff), diagonal(1, 1.01 * cutoff)
    assert (spectrum(below).rank, spectrum(above).rank) == (1, 2)
    assert support_innovation(below, after) == pytest.approx(1 / math.sqrt(2), abs=1e-9)
    assert support_innovation(above, after) == 0


@pytest.mark.parametrize(("tokens", "features"), [(2, 50), (50, 2)])
def test_the_longer_side_sets_the_cutoff(tokens, features):
    cutoff = 50 * torch.finfo(torch.float32).eps
    for second, rank in ((0.9 * cutoff, 1), (1.1 * cutoff, 2)):
        assert spectrum(with_values([1, second], tokens, features)).rank == rank


@pytest.mark.parametrize(
    ("share", "rank"), [(0.5, 1), (0.64, 1), (0.65, 2), (0.96, 2), (0.97, 3), (1.0, 3)]
)
def test_explained_energy_keeps_the_fewest(share, rank):
    """Squares 16, 8, 1 of 25 hold 0.64, 0.96 and 1 of the energy."""
    state = diagonal(4, math.sqrt(8), 1)
    assert spectrum(state, rank_rule=ExplainedEnergy(share)).rank == rank


def test_rounding_of_the_gram_matrix_is_no_direction():
    state = gaussian(9, 1) @ gaussian(1, 7, seed=1)
    assert spectrum(state, rank_rule=ExplainedEnergy(1.0)).rank == 1


@pytest.mark.parametrize("share", [0, -0.1, 1.01, math.nan])
def test_explained_energy_refuses_other_shares(share):
    with pytest.raises(ValueError, match=r"share: expected a number in \(0, 1\]"):
        ExplainedEnergy(share)


def test_a_ready_spectrum_keeps_its_rank():
    before, after = gaussian(6, 9), gaussian(6, 9, seed=1)
    rule = ExplainedEnergy(0.5)
    ready = spectrum(before, rank_rule=rule)
    assert measured(ready, after) == measured(before, after, rule)
    assert measured(ready, after) != measured(before, after)


# Work and input


def count_calls(monkeypatch, name: str) -> list[str]:
    calls, original = [], getattr(torch.linalg, name)

    def counted(*args, **options):
        calls.append(name)
        return original(*args, **options)

    monkeypatch.setattr(torch.linalg, name, counted)
    return calls


def test_every_state_is_decomposed_once_and_without_vectors(monkeypatch):
    values, vectors = count_calls(monkeypatch, "eigvalsh"), count_calls(monkeypatch, "eigh")
    states = [spectrum(gaussian(6, 9, seed)) for seed in range(3)]
    update_geometry(states[0], states[1])
    update_geometry(states[1], states[2])
    assert (len(values), len(vectors)) == (3, 0)


def test_a_deficient_state_gets_its_vectors_once(monkeypatch):
    vectors = count_calls(monkeypatch, "eigh")
    state = spectrum(with_values([1, 1], 6, 9))
    assert vectors == []
    for seed in range(3):
        update_geometry(state, gaussian(6, 9, seed))
    assert len(vectors) == 1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_low_precision_is_measured_as_what_it_stores(dtype):
    before, after = gaussian(5, 9).to(dtype), gaussian(5, 9, seed=1).to(dtype)
    assert measured(before, after) == measured(before.double(), after.double())
    assert spectrum(before).matrix.dtype == torch.float64


def test_a_spectrum_owns_its_state():
    x = gaussian(4, 6)
    state, expected = spectrum(x), x.clone()
    x.zero_()
    assert torch.equal(state.matrix, expected)


def test_gradients_are_left_alone():
    before = gaussian(4, 6).requires_grad_()
    assert rid(before, before.detach() * 2).support_innovation == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("tokens", "features"), SHAPES)
def test_gram_matrix_is_that_of_the_smaller_side(tokens, features):
    x = gaussian(tokens, features)
    wide = x if tokens <= features else x.T
    torch.testing.assert_close(spectrum(x).gram, wide @ wide.T)


@pytest.mark.parametrize(("tokens", "features"), WIDE_AND_TALL)
def test_zero_tokens_are_only_directions_less(tokens, features):
    before, after = gaussian(tokens, features), gaussian(tokens, features, seed=1)
    before[:2] = 0
    state = spectrum(before)
    assert state.rank == min(tokens - 2, features)
    assert measured(state, after)[1:] == pytest.approx(by_svd(before, after)[1:], abs=1e-9)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (torch.ones(3), ValueError, r"x: expected shape \(tokens, features\).*got \(3,\)"),
        (torch.ones(2, 3, 4), ValueError, r"got \(2, 3, 4\)"),
        (torch.ones(0, 4), ValueError, r"not empty, got \(0, 4\)"),
        (torch.ones(2, 3, dtype=torch.int64), TypeError, r"floating-point.*torch.int64"),
        ([[1.0, 2.0]], TypeError, r"x: expected a floating-point tensor, got list"),
        (torch.zeros(2, 3), ValueError, r"x: expected a nonzero entry"),
        (torch.tensor([[1.0, math.nan]]), NonFiniteError, r"1 of 2 entries NaN or infinite"),
        (torch.tensor([[math.inf, -math.inf]]), NonFiniteError, r"2 of 2 entries"),
    ],
)
def test_bad_states_are_named(x, error, message):
    with pytest.raises(error, match=message):
        spectrum(x)


@pytest.mark.usefixtures("unchecked")
def test_bad_updates_are_named():
    good = gaussian(3, 4)
    with pytest.raises(ValueError, match=r"before and after.*\(3, 4\) and \(4, 3\)"):
        rid(good, good.T)
    with pytest.raises(ValueError, match=r"before and after.*\(3, 4\) and \(2, 4\)"):
        rid(spectrum(good), good[:2])
    with pytest.raises(NonFiniteError, match=r"^after: "):
        rid(good, good / 0)
    with pytest.raises(ValueError, match=r"^before: expected a nonzero entry"):
        rid(good * 0, good)


def test_residuals_quote_shapes():
    state = spectrum(gaussian(3, 4))
    with pytest.raises(ValueError, match=r"y: expected shape \(any, 4\), got \(4, 3\)"):
        state.residual_features(torch.ones(4, 3))
    with pytest.raises(ValueError, match=r"y: expected shape \(3, any\), got \(4, 3\)"):
        state.residual_tokens(torch.ones(4, 3))


def test_residuals_of_what_is_not_finite_are_refused():
    state = spectrum(gaussian(3, 4))
    for residual, shape in ((state.residual_features, (2, 4)), (state.residual_tokens, (3, 2))):
        with pytest.raises(NonFiniteError, match=r"y: expected finite .* 8 of 8|y: .* 6 of 6"):
            residual(torch.full(shape, math.nan))


@pytest.mark.parametrize("kept", [0, 2.5, True])
def test_a_rule_that_keeps_no_directions_is_refused(kept):
    with pytest.raises(ValueError, match=f"rank_rule: expected a whole .* at least 1, got {kept}"):
        spectrum(gaussian(3, 4), rank_rule=lambda values, shape: kept)


@pytest.mark.parametrize("kept", [1, 11, 12, 13, 23])
@pytest.mark.parametrize("shape", [(24, 40), (40, 24), (24, 24)])
def test_a_state_that_was_cut_projects_as_its_singular_vectors_do(shape, kept):
    """Few directions are kept, half of them, or most; of either orientation."""
    scale = torch.arange(1, shape[1] + 1, dtype=torch.float64) ** -1.0
    before = gaussian(*shape, seed=kept) * scale
    after = before + gaussian(*shape, seed=kept + 1) * scale / 10

    def rule(values, shape):
        return kept

    found = update_geometry(before, after, rank_rule=rule)
    expected = by_svd(before, after, rule)
    assert [*found.rid, *found.factors] == pytest.approx(expected, abs=1e-10)
