"""Means over layers that do not hang on a model's depth, and statements about curves of means."""

import numpy as np
import pandas as pd
import pytest

from lost_in_attention.benchmarks import load_benchmark
from lost_in_attention.models import load
from lost_in_attention.models.shipped import chosen_models
from lost_in_attention.publishing.votes import labour_divided
from lost_in_attention.residual.depth import (
    LEAST_LAYERS_IN_RANGE,
    REFERENCE_LAYERS,
    first_is_strong,
    holds_for_mean,
    in_range,
    layer_weights,
    over_depth,
    range_answer,
    ranges_with_strong,
    strong_in_range,
    strong_layers,
)
from lost_in_attention.residual.measure import measure
from lost_in_attention.residual.tables import (
    crowded_models,
    module_gaps,
    over_layers,
    without_forced_zeros,
)


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
    middle = strong_in_range(0.3, 0.5)
    assert middle(np.array([9.0, 0, 0, -1, 0, 0, 0, 0])) and not middle(np.arange(8.0))
    assert not middle(np.array([9.0, 2, 0, -1, 0, 0, 0, 0]))


def test_how_many_ranges_hold_a_strong_layer():
    curve = np.array([9.0, 0, 0, -1, 0, 0, 0, 0])
    assert list(strong_layers(curve)) == [True, False, False, True, *[False] * 4]
    # Those of three layers that begin at 0 to 3; those that begin at 4 or 5 hold none.
    assert ranges_with_strong(curve, 3) == (4, 6)


def test_of_eight_layers_only_one_lies_around_forty_percent():
    assert in_range(8, 0.3, 0.5).sum() == 1 < LEAST_LAYERS_IN_RANGE
    assert [in_range(depth, 0.3, 0.5).sum() for depth in (28, 36, 64)] == [5, 7, 13]


def test_answers_need_the_resamples_to_agree():
    random = np.random.default_rng(0)
    clear = random.normal(0, 0.01, (20, 28))
    clear[:, 0] += 5
    clear[:, 8:14] += 1
    rows = table(clear)
    assert ranges_with_strong(clear.mean(0), 5) == (11, 24)
    assert holds_for_mean(rows, "mixig", first_is_strong, seed=0) is True
    assert range_answer(rows, "mixig", 0.3, 0.5, seed=0) is True
    assert range_answer(rows, "mixig", 0.6, 0.9, seed=0) is False
    noise = table(random.normal(0, 1, (20, 28)))
    assert holds_for_mean(noise, "mixig", first_is_strong, seed=0) is None
    assert range_answer(noise, "mixig", 0.3, 0.5, seed=0) is None


def test_a_range_that_does_not_stand_out_stays_open():
    curve = np.zeros(28)
    curve[[0, 4, 8, 11, 15, 19, 23]] = 1
    rows = table(np.tile(curve, (20, 1)))
    assert holds_for_mean(rows, "mixig", strong_in_range(0.3, 0.5), seed=0) is True
    assert range_answer(rows, "mixig", 0.3, 0.5, seed=0) is None


def test_eight_layers_and_a_single_image_stay_open():
    eight = np.tile(np.eye(8)[3] + 2 * np.eye(8)[0], (20, 1))
    assert range_answer(table(eight), "mixig", 0.3, 0.5, seed=0) is None
    alone = table(np.tile(np.eye(28)[11], (1, 1)))
    assert range_answer(alone, "mixig", 0.3, 0.5, seed=0) is None


@pytest.fixture(scope="module")
def zoo():
    """Every model of the repository on a few questions."""
    samples = list(load_benchmark("pope").draw(16, seed=0))
    tables = [measure(load(name), samples).assign(model=name) for name in chosen_models("zoo")]
    return pd.concat(tables, ignore_index=True)


def halves(per_sample: pd.DataFrame) -> pd.DataFrame:
    return labour_divided(module_gaps(per_sample, ["rid", "mixig"], ["model"], seed=0))


def test_both_halves_of_c073_hold_in_every_model_without_layer_0(zoo):
    """What README and introduction say; with layer 0 in a plain mean either half turns in some."""
    rows = ["rid", "mixig"], ["model", "module"]
    later = halves(over_layers(zoo[zoo["layer"] > 0], *rows))
    assert len(later) == 6 and (later == True).all(axis=None)  # noqa: E712
    everywhere = halves(over_layers(zoo, *rows))
    for half in ("rid", "mixig"):
        assert {True, False} == set(everywhere[half])
    # Over depth the only models that say no are those with more tokens than features.
    by_depth = halves(over_depth(zoo, *rows))
    no = [name for name, answer in by_depth["rid"].items() if answer is False]
    assert sorted(no) == sorted(crowded_models(zoo))
    assert False not in set(by_depth["mixig"])


def test_feature_novelty_is_zero_where_there_are_as_many_tokens_as_features(zoo):
    """By the rule and in the numbers; at layer 0 equal rows leave a rank below it."""
    crowded = crowded_models(zoo)
    assert crowded == ["small-llava-next", "small-llava-onevision"]
    forced = zoo["model"].isin(crowded)
    deeper = zoo["layer"] > 0
    assert zoo.loc[forced & deeper, "feature_novelty"].max() < 1e-6
    assert zoo.loc[~forced, "feature_novelty"].min() > 0.01
    cleaned = without_forced_zeros(zoo)["feature_novelty"]
    assert (cleaned.isna() == forced).all()
    few = zoo.assign(features=1000)
    assert not crowded_models(few) and without_forced_zeros(few).equals(few)
