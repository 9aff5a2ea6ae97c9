"""Token mixing: closed forms, bounds and when they are reached, invariances, messages."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lost_in_attention.metrics import mixing
from lost_in_attention.metrics.mixing import (
    entropy_bounds,
    mixing_information_gain,
    token_mixing_entropy,
    token_mixing_entropy_from_gram,
)

repeatable = settings(deadline=None, derandomize=True, max_examples=40)
shapes = st.tuples(st.integers(1, 9), st.integers(1, 6))
seeds = st.integers(0, 2**31)
RELEASED = {"power": 8, "rows": "last", "normalise": True}


def gaussian(rows: int, columns: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, columns, generator=generator, dtype=torch.float64)


def antipodal(first: int, second: int) -> torch.Tensor:
    """Two groups of equal tokens that point in opposite directions, with different norms."""
    direction = gaussian(1, 5)
    return torch.cat([direction.repeat(first, 1), -2 * direction.repeat(second, 1)])


def row_entropies(x: torch.Tensor, power: float = 1) -> list[float]:
    """Def 3.7 number by number, without a matrix product."""
    tokens = x.double().tolist()

    def weight(a, b):
        dot = sum(p * q for p, q in zip(a, b, strict=True))
        return ((dot / (math.hypot(*a) * math.hypot(*b)) + 1) / 2) ** power

    entropies = []
    for token in tokens:
        weights = [weight(token, other) for other in tokens]
        shares = [w / sum(weights) for w in weights]
        entropies.append(-sum(p * math.log(p) for p in shares if p > 0))
    return entropies


def test_equal_tokens_mix_evenly():
    assert token_mixing_entropy(gaussian(1, 5).repeat(7, 1)) == pytest.approx(math.log(7))


@pytest.mark.parametrize("size", [2, 3, 10])
def test_orthogonal_tokens(size):
    """A row holds one weight 1 and size - 1 weights 1/2."""
    total = (size + 1) / 2
    expected = math.log(total) + (size - 1) / 2 * math.log(2) / total
    assert token_mixing_entropy(torch.eye(size)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("power", [1, 0.5, 8])
def test_matches_the_definition(power):
    x = gaussian(6, 4)
    entropies = row_entropies(x, power)
    assert token_mixing_entropy(x, power=power) == pytest.approx(sum(entropies) / 6, rel=1e-12)
    assert token_mixing_entropy(x, power=power, rows="last") == pytest.approx(
        entropies[-1], rel=1e-12
    )
    assert token_mixing_entropy(x, power=power, normalise=True) == pytest.approx(
        sum(entropies) / 6 / math.log(6), rel=1e-12
    )


def test_released_variant():
    x = gaussian(6, 4)
    expected = row_entropies(x, power=8)[-1] / math.log(6)
    assert token_mixing_entropy(x, **RELEASED) == pytest.approx(expected, rel=1e-12)
    assert token_mixing_entropy(x, **RELEASED) < token_mixing_entropy(x, normalise=True)


@pytest.mark.parametrize(("first", "second"), [(1, 1), (4, 4), (1, 6), (5, 2)])
def test_two_antipodal_groups_reach_the_lower_bound(first, second):
    x, size = antipodal(first, second), first + second
    expected = (first * math.log(first) + second * math.log(second)) / size
    low, high = entropy_bounds(x)
    assert token_mixing_entropy(x) == pytest.approx(expected, abs=1e-12)
    assert low == pytest.approx(expected, abs=1e-12)
    assert high == math.log(size)


@repeatable
@given(shapes, seeds, st.floats(0, 3))
def test_entropy_stays_within_its_bounds(shape, seed, common):
    """log S - log 2 <= log S - h((1 + rho) / 2) <= TME <= log S."""
    x = gaussian(*shape, seed) + common
    if shape[0] > 2:
        x[0] = 0
    low, high = entropy_bounds(x)
    assert math.log(shape[0]) - math.log(2) - 1e-12 <= low
    assert low - 1e-9 <= token_mixing_entropy(x) <= high + 1e-9


@repeatable
@given(shapes, seeds)
def test_gain_is_at_most_log_two(shape, seed):
    gain = mixing_information_gain(gaussian(*shape, seed), gaussian(*shape, seed + 1))
    assert abs(gain) <= math.log(2) + 1e-12


def test_gain_reaches_log_two():
    halves, equal = antipodal(4, 4), antipodal(8, 0)
    assert mixing_information_gain(halves, equal) == pytest.approx(math.log(2), abs=1e-12)
    assert mixing_information_gain(equal, halves) == pytest.approx(-math.log(2), abs=1e-12)


@repeatable
@given(seeds, st.integers(1, 12))
def test_gains_telescope(seed, updates):
    """However many modules write, their gains add up to the difference of the two ends."""
    states = [gaussian(6, 4, seed)]
    for step in range(updates):
        states.append(states[-1] + gaussian(6, 4, seed + 1 + step))
    gains = [mixing_information_gain(before, after) for before, after in pairwise(states)]
    ends = token_mixing_entropy(states[-1]) - token_mixing_entropy(states[0])
    assert sum(gains) == pytest.approx(ends, abs=1e-12)
    assert abs(sum(gains)) <= math.log(2)


@repeatable
@given(shapes, seeds)
def test_norms_rotations_and_order_do_not_matter(shape, seed):
    x = gaussian(*shape, seed)
    generator = torch.Generator().manual_seed(seed)
    norms = torch.rand(shape[0], 1, generator=generator, dtype=torch.float64) * 100 + 0.01
    turn = torch.linalg.qr(gaussian(shape[1], shape[1], seed + 1))[0]
    order = torch.randperm(shape[0], generator=generator)
    assert token_mixing_entropy((norms * x @ turn)[order]) == pytest.approx(
        token_mixing_entropy(x), abs=1e-9
    )


@pytest.mark.parametrize("options", [{}, {"power": 3}, RELEASED])
@pytest.mark.parametrize("shape", [(4, 9), (9, 4)])
def test_gram_matrix_serves_as_well(shape, options):
    x = gaussian(*shape)
    x[1] = 0
    assert token_mixing_entropy_from_gram(x @ x.T, **options) == pytest.approx(
        token_mixing_entropy(x, **options), rel=1e-12
    )


@pytest.mark.parametrize("rows", ["all", "last"])
def test_blocks_change_nothing(monkeypatch, rows):
    x = gaussian(11, 4)
    whole = token_mixing_entropy(x, rows=rows)
    monkeypatch.setattr(mixing, "BLOCK_ENTRIES", 33)
    assert token_mixing_entropy(x, rows=rows) == pytest.approx(whole, rel=1e-12)
    monkeypatch.setattr(mixing, "BLOCK_ENTRIES", 1)
    assert token_mixing_entropy_from_gram(x @ x.T, rows=rows) == pytest.approx(whole, rel=1e-12)


def test_a_zero_token_mixes_evenly():
    x = gaussian(5, 3)
    x[-1] = 0
    assert token_mixing_entropy(x, rows="last") == pytest.approx(math.log(5), rel=1e-12)
    assert token_mixing_entropy(torch.zeros(5, 3)) == pytest.approx(math.log(5), rel=1e-12)


def test_one_token_has_nothing_to_mix():
    x = gaussian(1, 4)
    assert token_mixing_entropy(x) == pytest.approx(0, abs=1e-12)
    assert entropy_bounds(x) == pytest.approx((0, 0), abs=1e-12)
    with pytest.raises(ValueError, match="normalise: expected at least two tokens, got one"):
        token_mixing_entropy(x, normalise=True)


def test_rounding_never_makes_a_weight_negative():
    """Opposite tokens have cosine -1 up to rounding, and roots of negative weights are nan."""
    half = gaussian(50, 3)
    assert math.isfinite(token_mixing_entropy(torch.cat([half, -3 * half]), power=0.5))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_low_precision_is_measured_as_what_it_stores(dtype):
    x = gaussian(5, 9).to(dtype)
    assert token_mixing_entropy(x) == token_mixing_entropy(x.double())


def test_arguments_are_left_alone():
    x = gaussian(5, 9)
    gram, same = x @ x.T, x.clone()
    same_gram = gram.clone()
    token_mixing_entropy(x, **RELEASED)
    token_mixing_entropy_from_gram(gram, **RELEASED)
    assert torch.equal(x, same)
    assert torch.equal(gram, same_gram)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("x", "options", "error", "message"),
    [
        (torch.ones(3), {}, ValueError, r"x: expected a non-empty matrix, got shape \(3,\)"),
        (torch.ones(0, 3), {}, ValueError, r"got shape \(0, 3\)"),
        (torch.ones(2, 3, dtype=torch.int32), {}, TypeError, "floating-point.*torch.int32"),
        (torch.tensor([[1.0, math.nan]]), {}, ValueError, "x: expected finite entries"),
        (torch.tensor([[math.inf, -math.inf]]), {}, ValueError, "x: expected finite entries"),
        (torch.eye(2).double() * 1e200, {}, ValueError, "x: expected finite entries and norm"),
        (torch.ones(2, 3), {"power": 0}, ValueError, "power: expected a positive number, got 0"),
        (torch.ones(2, 3), {"power": math.nan}, ValueError, "power: .* got nan"),
        (torch.ones(2, 3), {"rows": "first"}, ValueError, r"rows: .*'all', 'last'.*'first'"),
    ],
)
def test_bad_arguments_are_named(x, options, error, message):
    with pytest.raises(error, match=message):
        token_mixing_entropy(x, **options)


@pytest.mark.usefixtures("unchecked")
def test_bad_gram_matrices_are_named():
    with pytest.raises(ValueError, match=r"gram: expected a square matrix.*\(2, 3\)"):
        token_mixing_entropy_from_gram(torch.ones(2, 3))
    with pytest.raises(ValueError, match=r"no negative diagonal entry.*-1"):
        token_mixing_entropy_from_gram(-torch.ones(2, 2))


@pytest.mark.usefixtures("unchecked")
def test_gain_quotes_both_shapes():
    with pytest.raises(ValueError, match=r"before and after.*\(3, 4\) and \(2, 4\)"):
        mixing_information_gain(torch.ones(3, 4), torch.ones(2, 4))
