"""The statements of chapter 05, one section each, named by their labels there."""

import itertools
import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lost_in_attention.metrics.mixing import (
    entropy_bounds,
    mixing_information_gain,
    token_mixing_entropy,
)
from lost_in_attention.models.registry import paper_variants
from lost_in_attention.publishing.frames_sphere import PLACES, directions, entropy, tokens_on_sphere
from lost_in_attention.publishing.paper import table1
from lost_in_attention.teaching import CheckFailed
from lost_in_attention.teaching import token_mixing as checks

SIZES = st.tuples(st.integers(1, 9), st.integers(1, 5))
SEEDS = st.integers(0, 10_000)
# How far tokens stay from one line, and how much they share.
FLATNESS = st.sampled_from([0.0, 1e-3, 0.1, 1.0])
COMMON = st.sampled_from([0.0, 0.3, 3.0])
checked = settings(deadline=None, derandomize=True, max_examples=100)


def gaussian(rows: int, columns: int, seed: int) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(rows, columns, generator=random, dtype=torch.float64)


def tokens(size: tuple[int, int], seed: int, flatness: float, common: float) -> torch.Tensor:
    x = gaussian(*size, seed)
    x[:, 1:] *= flatness
    return x + common * gaussian(1, size[1], seed + 1)


def on_a_line(first: int, second: int) -> torch.Tensor:
    return torch.cat([gaussian(1, 4, 0).repeat(first, 1), -3 * gaussian(1, 4, 0).repeat(second, 1)])


def coin(share: float) -> float:
    return -sum(p * math.log(p) for p in (share, 1 - share) if p > 0)


def row_numbers(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, float, float]:
    """u_t and q_t of every row, rho, and 1 / PR from the singular values."""
    x = x / x.norm(dim=1, keepdim=True)
    cosines = x @ x.T
    energies = torch.linalg.svdvals(x).square()
    inverse = float(energies.square().sum() / energies.sum() ** 2)
    return cosines.mean(1), cosines.square().mean(1), float(x.mean(0).norm()), inverse


def deficit(x: torch.Tensor) -> float:
    return math.log(len(x)) - token_mixing_entropy(x)


def row_bound(x: torch.Tensor) -> float:
    u, q, _, _ = row_numbers(x)
    return float(((1 + 2 * u + q) / (1 + u) ** 2).log().mean())


def spread_bound(x: torch.Tensor) -> float:
    _, _, rho, inverse = row_numbers(x)
    rho = min(rho, 1.0)
    return coin((1 + rho) / 2) + math.log((1 + 2 * rho + inverse) / (2 + 2 * rho))


def least_entropy(count: int) -> float:
    return math.log(count) - coin((1 + (count % 2) / count) / 2)


# --- thm-tme-row


@checked
@given(SIZES, SEEDS, FLATNESS, COMMON)
def test_the_deficit_is_below_the_bound_of_its_rows(size, seed, flatness, common):
    x = tokens(size, seed, flatness, common)
    u, q, rho, inverse = row_numbers(x)
    assert float(u.mean()) == pytest.approx(rho**2, abs=1e-9)
    assert float(q.mean()) == pytest.approx(inverse, abs=1e-9)
    assert deficit(x) <= row_bound(x) + 1e-9


@pytest.mark.parametrize("groups", [(3, 3), (5, 2), (1, 6), (4, 0)])
def test_rows_of_zeros_and_ones_reach_it(groups):
    x = on_a_line(*groups)
    assert row_bound(x) == pytest.approx(deficit(x), abs=1e-9)


# --- thm-tme-bounds


@checked
@given(SIZES, SEEDS, FLATNESS, COMMON)
def test_the_bounds_stand_in_order(size, seed, flatness, common):
    x = tokens(size, seed, flatness, common)
    low, high = entropy_bounds(x)
    assert -1e-9 <= deficit(x) <= row_bound(x) + 1e-9
    assert row_bound(x) <= spread_bound(x) + 1e-9
    assert spread_bound(x) <= high - low + 1e-9


@pytest.mark.parametrize("groups", [(3, 3), (4, 3), (1, 6), (5, 0)])
def test_on_a_line_the_weaker_bound_is_an_equality(groups):
    x = on_a_line(*groups)
    low, high = entropy_bounds(x)
    assert deficit(x) == pytest.approx(high - low, abs=1e-9)
    assert row_numbers(x)[2] == pytest.approx(abs(groups[0] - groups[1]) / sum(groups))


@checked
@given(st.tuples(st.integers(2, 8), st.integers(2, 5)), SEEDS)
def test_off_the_line_it_is_not(size, seed):
    x = gaussian(*size, seed)
    low, high = entropy_bounds(x)
    if row_numbers(x)[3] < 0.99:
        assert deficit(x) < high - low - 1e-4


# --- thm-tme-least


@checked
@given(SIZES, SEEDS, FLATNESS, COMMON)
def test_no_state_is_below_the_least_entropy(size, seed, flatness, common):
    x = tokens(size, seed, flatness, common)
    assert token_mixing_entropy(x) >= least_entropy(size[0]) - 1e-9
    other = tokens(size, seed + 7, flatness, common)
    assert (
        abs(mixing_information_gain(x, other)) <= math.log(size[0]) - least_entropy(size[0]) + 1e-9
    )


@pytest.mark.parametrize("count", range(1, 9))
def test_two_even_groups_reach_it_and_no_other_signs_do(count):
    even = {count // 2, count - count // 2}
    for signs in itertools.product((1.0, -1.0), repeat=count):
        found = token_mixing_entropy(torch.tensor(signs, dtype=torch.float64)[:, None])
        reached = found == pytest.approx(least_entropy(count), abs=1e-12)
        assert reached == (signs.count(1.0) in even)


@pytest.mark.parametrize("count", [3, 5])
def test_descent_off_the_line_ends_above_it(count):
    """From random states in space, gradient descent on TME comes near the bound, not below."""
    lowest = math.inf
    for seed in range(12):
        x = gaussian(count, 3, seed).requires_grad_()
        optimiser = torch.optim.Adam([x], lr=0.05)
        for _ in range(200):
            unit = x / x.norm(dim=1, keepdim=True)
            weights = ((1 + unit @ unit.T) / 2).clamp(min=1e-12)
            p = weights / weights.sum(1, keepdim=True)
            loss = -(p * p.log()).sum(1).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        lowest = min(lowest, token_mixing_entropy(x.detach()))
    assert least_entropy(count) - 1e-9 <= lowest <= least_entropy(count) + 0.01


@checked
@given(st.integers(3, 9), st.integers(1, 5), SEEDS)
def test_rounding_the_cosines_of_an_odd_row(half, features, seed):
    """The step of the proof for odd S: S (1 - q) is at least 1 - S |u|."""
    x = gaussian(2 * half + 1, features, seed)
    u, q, _, _ = row_numbers(x)
    assert bool((len(x) * (1 - q) >= 1 - len(x) * u.abs() - 1e-9).all())


def test_the_numbers_of_the_proof():
    third = 1 / 3
    assert 2 * (1 + third) * math.atanh(third) < 1
    places = np.linspace(1e-3, third, 200)
    assert bool((np.diff(2 * (1 + places) * np.arctanh(places)) > 0).all())


# --- thm-tme-alike


@checked
@given(st.integers(2, 40), st.floats(0, 1))
def test_one_cosine_for_all_pairs_is_within_a_token_of_the_top(count, cosine):
    x = math.sqrt(1 - cosine) * torch.eye(count, count + 1, dtype=torch.float64)
    x[:, -1] = math.sqrt(cosine)
    found = deficit(x)
    assert -1e-9 <= found <= (count - 1) / count**2 * (1 - cosine) ** 2 + 1e-9
    assert found < 1 / count


# --- thm-mixig-mixing


@checked
@given(SIZES, SEEDS, FLATNESS, COMMON)
def test_exchanging_tokens_has_no_gain(size, seed, flatness, common):
    x = tokens(size, seed, flatness, common)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    assert mixing_information_gain(x, x[order]) == pytest.approx(0, abs=1e-9)


@checked
@given(SIZES, SEEDS, FLATNESS)
def test_one_vector_for_all_tokens_gains_all_there_is(size, seed, flatness):
    x = tokens(size, seed, flatness, 0.0)
    gain = mixing_information_gain(x, x + 1e6 * gaussian(1, size[1], seed + 2))
    assert gain == pytest.approx(deficit(x), abs=1e-4)


# --- thm-telescoping


@checked
@given(SIZES, SEEDS, st.integers(1, 9))
def test_gains_telescope_and_the_ends_bound_them(size, seed, updates):
    states = [gaussian(*size, seed + step) for step in range(updates + 1)]
    total = sum(itertools.starmap(mixing_information_gain, itertools.pairwise(states)))
    assert total == pytest.approx(deficit(states[0]) - deficit(states[-1]), abs=1e-9)
    assert -deficit(states[-1]) - 1e-9 <= total <= deficit(states[0]) + 1e-9


def test_the_gains_of_table_1_leave_no_room_for_the_layers_of_the_papers_models():
    gains = table1().loc[["attention", "ffn"], "mixig"].sum()
    widest = max(math.log(2), 1)  # nats; bits and the released scale
    assert min(variant.layers for variant in paper_variants()) * gains > 10 * widest


# --- thm-tme-power


@checked
@given(st.integers(2, 30), st.floats(0.1, 40))
def test_orthogonal_tokens_under_a_power(count, power):
    z = 1 + (count - 1) * 2**-power
    expected = math.log(z) + (z - 1) / z * power * math.log(2)
    found = token_mixing_entropy(torch.eye(count), power=power)
    assert found == pytest.approx(expected, abs=1e-9)


def test_a_high_power_leaves_the_room_of_log_two():
    assert token_mixing_entropy(torch.eye(50), power=60) < 1e-9 < math.log(25)
    for power in (0.5, 8, 60):
        for groups in ((3, 3), (6, 1)):
            x = torch.tensor([[1.0]] * groups[0] + [[-1.0]] * groups[1])
            found = token_mixing_entropy(x, power=power)
            assert found == pytest.approx(token_mixing_entropy(x), abs=1e-12)
            assert found >= math.log(sum(groups)) - math.log(2) - 1e-9


@pytest.mark.parametrize("power", [0.5, 1, 8])
def test_a_row_has_no_entropy_only_against_all_others(power):
    alone = torch.tensor([[1.0, 0], [2.0, 0], [-1.0, 0]])
    assert token_mixing_entropy(alone, power=power, rows="last") == pytest.approx(0, abs=1e-12)
    nearly = torch.tensor([[1.0, 2.0], [2.0, 0], [-1.0, 0]])
    assert token_mixing_entropy(nearly, power=power, rows="last") > 1e-12


# --- the figure that moves


def test_the_sphere_runs_from_one_direction_to_two_groups():
    one, spread, two = (directions(place) for place in (-1, 0, 1))
    for points in (one, spread, two):
        assert np.allclose(np.linalg.norm(points, axis=1), 1)
    assert np.allclose(one, one[0])
    assert np.linalg.norm(spread.mean(0)) < 0.01
    assert np.allclose(np.linalg.svd(spread)[1] ** 2, len(spread) / 3, rtol=0.05)
    heads = two @ two[0]
    assert np.allclose(np.abs(heads), 1) and np.sum(heads > 0) == len(two) / 2
    assert entropy(-1) == pytest.approx(math.log(40))
    assert entropy(1) == pytest.approx(math.log(20))


@pytest.mark.parametrize("place", [-1.1, 2, math.nan])
def test_a_place_beyond_the_ends_is_refused(place):
    with pytest.raises(ValueError, match=r"place: expected a number from -1 to 1"):
        directions(place)


def test_frames_follow_the_sliders_and_say_what_they_draw():
    figure, sliders = tokens_on_sphere()
    combinations = list(itertools.product(*(slider.positions for slider in sliders)))
    assert len(figure.frames) == len(combinations)
    for frame, (place, _) in zip(figure.frames, combinations, strict=True):
        stated, shown = re.search(r"Place (\S+):.*TME (\S+) nats", frame.name).groups()
        assert stated == place
        marker = frame.data[-1]
        assert marker.x[0] == PLACES[sliders[0].positions.index(place)]
        assert marker.y[0] == pytest.approx(float(shown), abs=6e-4)
        assert sum(len(trace.x) for trace in frame.data[1:3]) == 40


# --- exercises: answers that a learner may well try


TEMPTING = {
    "in bits": (
        checks.check_mixing_entropy,
        lambda x: token_mixing_entropy(x) / math.log(2),
    ),
    "without directions": (
        checks.check_mixing_entropy,
        lambda x: float(torch.special.entr(torch.softmax(x @ x.T, 1)).sum(1).mean()),
    ),
    "power left out": (
        checks.check_common_cosine_entropy,
        lambda count, cosine, power: token_mixing_entropy(torch.eye(count)),
    ),
    "minus the mean": (checks.check_centring_bias, lambda x: -x.mean(0)),
    "minus the median token": (checks.check_centring_bias, lambda x: -x[len(x) // 2]),
    "TME itself": (
        checks.check_alikeness,
        lambda x: token_mixing_entropy(x, normalise=True),
    ),
    "mean resultant length": (
        checks.check_alikeness,
        lambda x: float((x / x.norm(dim=1, keepdim=True)).mean(0).norm()),
    ),
}


@pytest.mark.parametrize("name", TEMPTING)
def test_tempting_answers_fail(name):
    check, answer = TEMPTING[name]
    with pytest.raises(CheckFailed):
        check(answer)
