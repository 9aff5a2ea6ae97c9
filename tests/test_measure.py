"""The table of RID and MixIG: right numbers, each state decomposed once, padding left out."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from lost_in_attention import measure as measure_module
from lost_in_attention.benchmarks import load_benchmark
from lost_in_attention.geometry import NonFiniteError, rid
from lost_in_attention.measure import measure
from lost_in_attention.mixing import mixing_information_gain
from lost_in_attention.models import load
from lost_in_attention.stream import record

NUMBERS = ["rid", "spectrum_change", "support_innovation", "mixig", "size", "feature_novelty"]


@pytest.fixture(scope="module")
def vlm():
    return load("small-qwen2.5-vl")


@pytest.fixture(scope="module")
def samples():
    return list(load_benchmark("pope").draw(3, seed=4))


@pytest.fixture(scope="module")
def table(vlm, samples):
    return measure(vlm, samples)


def test_a_row_for_every_update(vlm, samples, table):
    assert len(table) == 2 * len(vlm.layers) * len(samples)
    assert set(table["module"]) == {"attention", "ffn"}
    assert not table.duplicated(["sample", "layer", "module"]).any()
    assert table[NUMBERS].notna().all(axis=None)


def test_numbers_are_those_of_the_definitions(vlm, samples, table):
    """Against RID and MixIG of states kept from one sample alone."""
    inputs = vlm.prepare([samples[1].image], [samples[1].prompt])
    states = []
    record(vlm, inputs, lambda state: states.append(state.hidden[0].clone()))
    rows = table[table["sample"] == samples[1].id]
    for (_, row), before, after in zip(rows.iterrows(), states, states[1:], strict=False):
        assert row["rid"] == pytest.approx(rid(before, after).total, abs=1e-5)
        assert row["mixig"] == pytest.approx(mixing_information_gain(before, after), abs=1e-5)


def test_innovation_is_size_times_novelty(table):
    product = table["size"] * (table["token_novelty"] + table["feature_novelty"]) / 2
    full = table["rank"] == table["tokens"]
    assert full.any()
    np.testing.assert_allclose(table["support_innovation"][full], product[full], rtol=1e-6)


def test_mixig_adds_up_to_less_than_log_2(table):
    for _, rows in table.groupby("sample"):
        first = rows["tme"].iloc[0] - rows["mixig"].iloc[0]
        assert rows["mixig"].sum() == pytest.approx(rows["tme"].iloc[-1] - first, abs=1e-9)
        assert abs(rows["mixig"].sum()) <= math.log(2)


def test_padding_never_enters(vlm, samples):
    """A short prompt beside a long one gives what it gives alone."""
    short = replace(samples[0], prompt="Find the one.")
    long = replace(samples[1], prompt=samples[1].prompt * 2)
    alone = measure(vlm, [short], batch_size=1)
    beside = measure(vlm, [short, long], batch_size=2)
    beside = beside[beside["sample"] == short.id].reset_index(drop=True)
    assert (alone["tokens"] == beside["tokens"]).all()
    np.testing.assert_allclose(alone[NUMBERS], beside[NUMBERS], atol=2e-5)


def test_more_tokens_than_features_in_bf16(samples):
    """Large pictures of unlike shape, in one batch: S > H turns the vanishing term around."""
    vlm = load("small-qwen2.5-vl", dtype=torch.bfloat16)
    vlm.processor.image_processor.size = {"shortest_edge": 96**2, "longest_edge": 400**2}
    sizes = ((240, 180), (130, 250))
    large = [
        replace(sample, images=(sample.image.resize(size),))
        for sample, size in zip(samples, sizes, strict=False)
    ]
    table = measure(vlm, large)
    features = vlm.model.config.text_config.hidden_size
    assert table["tokens"].nunique() == 2 and table["tokens"].min() > features
    full = table[(table["rank"] == features) & (table["layer"] > 0)]
    assert len(full)
    assert (full["feature_novelty"] == 0).all()
    assert (full["support_innovation"] > 0).all() and (full["support_innovation"] <= 0.5).all()


def test_token_subsets_part_the_tokens(vlm, samples, table):
    visual = measure(vlm, samples, tokens="visual")
    text = measure(vlm, samples, tokens="text")
    assert (visual["tokens"] == 64).all()
    assert (visual["tokens"] + text["tokens"] == table["tokens"]).all()


def test_every_state_is_decomposed_once(vlm, samples, monkeypatch):
    real, calls = measure_module.spectrum, []

    def counting(x, **kwargs):
        calls.append(x.shape)
        return real(x, **kwargs)

    monkeypatch.setattr(measure_module, "spectrum", counting)
    measure(vlm, samples[:2])
    assert len(calls) == 2 * (2 * len(vlm.layers) + 1)


def test_a_nan_is_traced_to_sample_layer_and_module(vlm, samples):
    def poison(module, args, output):
        output = output.clone()
        output[1, -1, 0] = torch.nan
        return output

    hook = vlm.layers[3].mlp.register_forward_hook(poison)
    try:
        with pytest.raises(NonFiniteError, match=f"sample {samples[1].id}, layer 3, module ffn"):
            measure(vlm, samples)
    finally:
        hook.remove()


def test_bad_arguments_are_refused_before_the_model_runs(vlm, samples):
    with pytest.raises(ValueError, match="tokens: expected one of .* got 'images'"):
        measure(vlm, samples, tokens="images")
    with pytest.raises(ValueError, match="samples: expected at least one"):
        measure(vlm, [])
