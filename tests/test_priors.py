"""Priors: closed forms of the complexity, versions, noise streams, and how flat a prior is."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lost_in_attention.sap.priors import (
    GRAY,
    complexity_prior,
    encoder_prior,
    noise_prior,
    normalised_entropy,
    patch_complexity,
    uniform_prior,
)


def gray_patch(values) -> torch.Tensor:
    return torch.as_tensor(values, dtype=torch.float64).expand(3, -1, -1)


def test_complexity_of_a_constant_patch_is_zero():
    assert float(patch_complexity(torch.full((3, 4, 6), 0.7))) == pytest.approx(0, abs=1e-6)


def test_complexity_of_a_ramp():
    """Steps of 1/4 across, none down; the variance of 0, 1/4, .., 1 is 1/8."""
    ramp = gray_patch([[0, 0.25, 0.5, 0.75, 1]] * 3)
    assert float(patch_complexity(ramp)) == pytest.approx(0.25 + 0 + 0.125)
    assert float(patch_complexity(ramp.transpose(1, 2))) == pytest.approx(0.25 + 0.125)


def test_complexity_of_a_checkerboard():
    board = gray_patch([[0, 1, 0, 1], [1, 0, 1, 0]])
    assert float(patch_complexity(board)) == pytest.approx(1 + 1 + 0.25)


def test_colours_weigh_as_bt601_says():
    red = torch.zeros(3, 2, 2, dtype=torch.float64)
    red[0, :, 1] = 1
    step = GRAY[0]
    assert float(patch_complexity(red)) == pytest.approx(step + step**2 / 4)


def test_complexity_keeps_leading_dimensions():
    patches = torch.rand(2, 5, 3, 4, 4)
    assert patch_complexity(patches).shape == (2, 5)
    assert patch_complexity(patches)[1, 3] == patch_complexity(patches[1, 3])


def test_paper_priors_are_the_values_themselves():
    values = torch.tensor([0.1, 0.4, 0.25])
    assert torch.equal(encoder_prior(values), values)
    assert torch.equal(complexity_prior(values), values)


def test_newlines_get_the_mean():
    values = torch.tensor([0.1, torch.nan, 0.3, torch.nan])
    torch.testing.assert_close(encoder_prior(values), torch.tensor([0.1, 0.2, 0.3, 0.2]))


def test_released_priors_are_probabilities():
    values = torch.tensor([1.0, 3.0, 2.0])
    torch.testing.assert_close(encoder_prior(values, version="released"), values.softmax(0))
    stretched = torch.tensor([0.0, 1.0, 0.5]).softmax(0)
    torch.testing.assert_close(complexity_prior(values, version="released"), stretched)
    # So the largest is at most e times the smallest, whatever the image.
    assert stretched.max() / stretched.min() == pytest.approx(math.e)


def test_a_blank_image_is_equally_complex_everywhere():
    blank = complexity_prior(torch.zeros(4), version="released")
    torch.testing.assert_close(blank, torch.full((4,), 0.25))


def test_noise_rows_can_be_drawn_later():
    whole = noise_prior(5, np.random.default_rng(3), rows=7)
    random = np.random.default_rng(3)
    parts = [noise_prior(5, random, rows=rows) for rows in (4, 1, 2)]
    assert torch.equal(torch.cat(parts), whole)


def test_noise_is_standard_gaussian():
    noise = noise_prior(400, np.random.default_rng(0), rows=400)
    assert float(noise.mean()) == pytest.approx(0, abs=5 / 400)
    assert float(noise.std()) == pytest.approx(1, abs=5 / 400)


def test_released_noise_is_one_distribution():
    noise = noise_prior(50, np.random.default_rng(0), rows=1, version="released")
    assert noise.shape == (1, 50) and (noise >= 0).all()
    assert float(noise.sum()) == pytest.approx(1, abs=1e-5)


def test_uniform_sums_to_one():
    assert float(uniform_prior(7).sum()) == pytest.approx(1)


def test_normalised_entropy_by_hand():
    assert normalised_entropy(torch.full((9,), -3.0)) == pytest.approx(1)
    assert normalised_entropy(torch.tensor([200.0, 0, 0])) == pytest.approx(0, abs=1e-12)
    # Weights 3/4 and 1/4.
    expected = (0.75 * math.log(4 / 3) + 0.25 * math.log(4)) / math.log(2)
    assert normalised_entropy(torch.tensor([math.log(3), 0.0])) == pytest.approx(expected)


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=30), st.floats(-100, 100))
def test_normalised_entropy_lies_in_the_unit_interval_and_ignores_shifts(values, shift):
    scores = torch.tensor(values, dtype=torch.float64)
    entropy = normalised_entropy(scores)
    assert -1e-12 <= entropy <= 1 + 1e-12
    assert normalised_entropy(scores + shift) == pytest.approx(entropy, abs=1e-9)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=50))
def test_released_priors_are_nearly_flat(values):
    """Probabilities differ by less than 1, so as scores their weights differ by less than e."""
    released = encoder_prior(torch.tensor(values), version="released")
    weights = released.softmax(0)
    assert float(weights.max() / weights.min()) < math.e
    assert normalised_entropy(released) > 0.85


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: encoder_prior(torch.ones(2), version="other"), "version: expected one of"),
        (lambda: encoder_prior(torch.full((3,), torch.nan)), "received: .* got 0 of 3"),
        (lambda: complexity_prior(torch.tensor([torch.inf, 0])), "complexity: expected finite"),
        (lambda: noise_prior(0, np.random.default_rng(0), rows=1), "tokens, rows: .* 0 and 1"),
        (lambda: uniform_prior(0), "tokens: expected a positive number, got 0"),
        (lambda: normalised_entropy(torch.ones(1)), "at least two finite numbers"),
    ],
)
def test_bad_values_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
