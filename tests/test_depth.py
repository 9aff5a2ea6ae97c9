"""Means over layers that do not hang on a model's depth, and statements about curves of means."""

import numpy as np
import pandas as pd
import pytest

from lost_in_attention.depth import (
    LEAST_LAYERS_IN_RANGE,
    REFERENCE_LAYERS,
    first_is_strong,
    holds_for_mean,
    layer_weights,
    layers_in_range,
    over_depth,
    peak_answer,
    peaks_in_range,
)
from lost_in_attention.zoo import over_layers


def table(curves: np.ndarray, **columns) -> pd.DataFrame:
    """One image a sample, from an array of samples and layers."""
    return pd.DataFrame(
        {"sample": f"q{s}", "image_source": f"i{s}", "layer": layer, "mixig": value} | columns
        for s, curve in enumerate(curves)
        for layer, value in enumerate(curve)
    )


@pytest.mark.parametrize("layers", [1, 2, 3, 8, 28, 36, 64])
def test_weights_are_shares_and_no_end_weighs_more_than_in_28_layers(layers):
    weights = layer_weights(layers)
    assert weights.sum() == pytest.approx(1) and (weights > 0).all()
    if layers > 2:
        assert weights[0] == weights[-1] <= 1 / REFERENCE_LAYERS + 1e-12
    if layers >= REFERENCE_LAYERS:
        np.testing.assert_allclose(weights, 1 / layers)


def test_no_layers_are_refused():
    with pytest.raises(ValueError, match="layers: expected at least 1, got 0"):
        layer_weights(0)


@pytest.mark.parametrize("layers", [8, 12, 28])
def test_depth_does_not_decide_the_mean(layers):
    """The same two ends and the same level between them: one mean, however many layers."""
    curve = np.full(layers, 0.1)
    curve[0], curve[-1] = -3.0, 1.0
    [found] = over_depth(table(curve[None]), ["mixig"], [])["mixig"]
    assert found == pytest.approx((-3 + 1 + 26 * 0.1) / 28)
    plain = over_layers(table(curve[None]), ["mixig"], [])["mixig"].item()
    assert (plain < found) == (layers < 28)


def test_a_missing_value_takes_its_weight_away():
    curve = np.array([[np.nan, 1.0, 1.0, 1.0], [np.nan] * 4])
    found = over_depth(table(curve), ["mixig"], [])["mixig"]
    assert found[0] == pytest.approx(1) and np.isnan(found[1])


def test_models_of_unlike_depth_have_their_own_weights():
    both = pd.concat([table(np.eye(4)[:1], model="a"), table(np.eye(40)[:1], model="b")])
    found = over_depth(both, ["mixig"], ["model"]).set_index("model")["mixig"]
    assert found["a"] == pytest.approx(1 / 28) and found["b"] == pytest.approx(1 / 40)


def test_statements_about_one_curve():
    assert first_is_strong(np.array([-5.0, 1, 2, 3, 4, 1, 1, 6]))
    assert not first_is_strong(np.array([-5.0, 6, 7, 3]))
    # Third of ten is not among the largest quarter.
    assert not first_is_strong(np.array([5.0, 6, 7, *[0] * 7]))
    middle = peaks_in_range(0.3, 0.5)
    assert middle(np.array([9.0, 0, 0, -1, 0, 0, 0, 0])) and not middle(np.arange(8.0))


def test_of_eight_layers_only_one_lies_around_forty_percent():
    assert layers_in_range(8, 0.3, 0.5) == 1 < LEAST_LAYERS_IN_RANGE
    assert [layers_in_range(depth, 0.3, 0.5) for depth in (28, 36, 64)] == [5, 7, 13]


def test_answers_need_the_resamples_to_agree():
    random = np.random.default_rng(0)
    clear = random.normal(0, 0.01, (20, 28))
    clear[:, 0] += 5
    clear[:, 11] += 1
    rows = table(clear)
    assert holds_for_mean(rows, "mixig", first_is_strong, seed=0) is True
    assert peak_answer(rows, "mixig", 0.3, 0.5, seed=0) is True
    assert peak_answer(rows, "mixig", 0.6, 0.9, seed=0) is False
    noise = table(random.normal(0, 1, (20, 28)))
    assert holds_for_mean(noise, "mixig", first_is_strong, seed=0) is None
    assert peak_answer(noise, "mixig", 0.3, 0.5, seed=0) is None


def test_eight_layers_and_a_single_image_stay_open():
    eight = np.tile(np.eye(8)[3] + 2 * np.eye(8)[0], (20, 1))
    assert peak_answer(table(eight), "mixig", 0.3, 0.5, seed=0) is None
    alone = table(np.tile(np.eye(28)[11], (1, 1)))
    assert peak_answer(alone, "mixig", 0.3, 0.5, seed=0) is None
