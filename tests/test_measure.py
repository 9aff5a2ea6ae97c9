"""The table of RID and MixIG: right numbers, each state decomposed once, padding left out,
controls in the place of updates, and runs that go on after a crash."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from conftest import in_two_processes
from lost_in_attention.benchmarks import load_benchmark
from lost_in_attention.metrics.mixing import mixing_information_gain
from lost_in_attention.metrics.rid import ExplainedEnergy, NonFiniteError, rid
from lost_in_attention.models import load
from lost_in_attention.residual import measure as measure_module
from lost_in_attention.residual import tracker as updates
from lost_in_attention.residual.baselines import noise_update, without_rope
from lost_in_attention.residual.controls import Noise, Resized, Rotated, resized
from lost_in_attention.residual.measure import measure
from lost_in_attention.residual.rope_tolerance import rope_tolerance
from lost_in_attention.residual.stream import record
from lost_in_attention.residual.value_average import compare, output_against_values

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
    real, calls = updates.spectrum, []

    def counting(x, **kwargs):
        calls.append(x.shape)
        return real(x, **kwargs)

    monkeypatch.setattr(updates, "spectrum", counting)
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


def test_a_sample_without_such_tokens_is_named(vlm, samples):
    blind = replace(samples[1], images=())
    assert len(measure(vlm, [samples[0], blind]))
    with pytest.raises(ValueError, match=f"tokens: expected some .visual. in {blind.id}"):
        measure(vlm, [samples[0], blind], tokens="visual")


def test_what_a_control_refuses_is_traced_to_sample_layer_and_module(vlm, samples):
    def silent(module, args, output):
        return torch.zeros_like(output)

    hook = vlm.layers[2].mlp.register_forward_hook(silent)
    where = f"sample {samples[0].id}, layer 2, module ffn: update: expected a nonzero entry"
    try:
        with pytest.raises(ValueError, match=where):
            measure(vlm, samples[:1], controls={"small": Resized(0.1)})
    finally:
        hook.remove()


def test_controls_are_measured_beside_the_updates(vlm, samples, table):
    controls = {"resized": Resized(0.2), "rotated": Rotated(0.2, seed=1), "noise": Noise(1)}
    beside = measure(vlm, samples, controls=controls)
    groups = {name: rows.reset_index(drop=True) for name, rows in beside.groupby("update")}
    assert groups.keys() == {"own", *controls}
    pd.testing.assert_frame_equal(groups["own"], table)
    for name in ("resized", "rotated"):
        np.testing.assert_allclose(groups[name]["size"], 0.2, rtol=1e-9)
    full = groups["own"]["rank"].groupby(groups["own"]["sample"]).shift() == table["tokens"]
    np.testing.assert_allclose(
        groups["resized"]["feature_novelty"][full], table["feature_novelty"][full], rtol=1e-6
    )
    changed = groups["rotated"]["feature_novelty"] - table["feature_novelty"]
    assert changed.abs().median() > 0.01


def test_a_control_takes_the_place_of_the_update_and_of_nothing_else(vlm, samples):
    """Against the definition, on states kept from the model."""
    table = measure(vlm, samples[:1], controls={"small": Resized(0.05)})
    rows = table[table["update"] == "small"]
    states = []
    inputs = vlm.prepare([samples[0].images], [samples[0].prompt])
    record(vlm, inputs, lambda state: states.append(state.hidden[0].double()))
    for (_, row), before, after in zip(rows.iterrows(), states, states[1:], strict=False):
        changed = before + resized(before, after - before, 0.05)
        assert row["rid"] == pytest.approx(rid(before, changed).total, abs=1e-6)
        assert row["mixig"] == pytest.approx(mixing_information_gain(before, changed), abs=1e-6)


@pytest.fixture
def counted(monkeypatch):
    """The size of every batch that the model runs on."""
    real, sizes = measure_module.record, []

    def counting(vlm, inputs, visit):
        sizes.append(len(inputs["input_ids"]))
        return real(vlm, inputs, visit)

    monkeypatch.setattr(measure_module, "record", counting)
    return sizes


CONTROLS = {"rotated": Rotated(0.2, seed=1)}


def run(vlm, samples, **changes):
    return measure(vlm, samples, **{"batch_size": 1, "controls": CONTROLS} | changes)


def test_a_run_that_broke_off_goes_on_and_repeats_nothing(vlm, samples, counted, tmp_path):
    whole, path = tmp_path / "whole.jsonl", tmp_path / "run.jsonl"
    table = run(vlm, samples, output=whole)
    pd.testing.assert_frame_equal(table, run(vlm, samples))
    for lines in (0, 1, 40, 80):
        content = whole.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(content[:lines]) + content[lines][:30])
        for kind in ("settings.json", "checksums"):
            kept = whole.with_name(f"whole.jsonl.{kind}").read_bytes()
            path.with_name(f"run.jsonl.{kind}").write_bytes(kept)
        counted.clear()
        pd.testing.assert_frame_equal(run(vlm, samples, output=path, resume=True), table)
        assert len(counted) == len(samples) - lines // (len(table) // len(samples))
        assert path.read_bytes() == whole.read_bytes()
    counted.clear()
    pd.testing.assert_frame_equal(run(vlm, samples, output=path, resume=True), table)
    assert not counted


def test_another_run_is_refused_before_the_model_runs(vlm, samples, counted, tmp_path):
    path = tmp_path / "run.jsonl"
    run(vlm, samples, output=path)
    counted.clear()
    with pytest.raises(FileExistsError, match="output: expected no run in .*run.jsonl"):
        run(vlm, samples, output=path)
    others = [
        ({"samples": samples[:2]}, "samples 3 there, 2 now"),
        ({"samples": samples[::-1]}, "questions"),
        ({"samples": [*samples[:2], samples[2].blanked()]}, "questions"),
        ({"batch_size": 2}, "batch_size 1 there, 2 now"),
        ({"tokens": "text"}, "tokens 'all' there, 'text' now"),
        ({"rank_rule": ExplainedEnergy(0.9)}, "rank_rule .*share=0.9"),
        ({"controls": {"rotated": Rotated(0.2, seed=2)}}, "controls .*seed=2"),
        ({"controls": None}, "controls"),
    ]
    for changes, message in others:
        with pytest.raises(ValueError, match=message):
            run(vlm, **{"samples": samples, "output": path, "resume": True} | changes)
    with noise_update(vlm, seed=0) as noisy, pytest.raises(ValueError, match="noise update"):
        run(noisy, samples, output=path, resume=True)
    weight = vlm.layers[0].self_attn.q_proj.weight
    learned = weight.data
    try:
        weight.data = 2 * learned
        with pytest.raises(ValueError, match="weights"):
            run(vlm, samples, output=path, resume=True)
    finally:
        weight.data = learned
    assert not counted


def shared_run(folder: Path) -> pd.DataFrame:
    questions = list(load_benchmark("pope").draw(3, seed=4))
    return run(load("small-qwen2.5-vl"), questions, output=folder / "run.jsonl")


def test_two_processes_give_the_table_of_one(vlm, samples, tmp_path):
    table = run(vlm, samples)
    for shared in in_two_processes(shared_run, tmp_path):
        pd.testing.assert_frame_equal(shared, table, rtol=1e-4)
    assert len((tmp_path / "run.jsonl").read_text().splitlines()) == len(table)


def test_the_tolerance_is_rid_with_and_without_rotary_embedding(vlm, samples):
    table = rope_tolerance(vlm, samples, batch_size=2)
    assert len(table) == len(samples) * len(vlm.layers)
    first = table["layer"] == 0
    np.testing.assert_allclose(table["rid"][first], 0, atol=1e-6)
    assert (table["rid"][~first] > 1e-4).all()
    inputs = vlm.prepare([samples[1].images], [samples[1].prompt])
    usual, bare = [], []
    record(vlm, inputs, lambda state: usual.append(state.hidden[0].clone()))
    with without_rope(vlm) as changed:
        record(changed, inputs, lambda state: bare.append(state.hidden[0].clone()))
    mine = table[table["sample"] == samples[1].id].set_index("layer")
    for layer in (1, len(vlm.layers) - 1):
        wanted = rid(usual[2 * layer], bare[2 * layer])
        assert mine["rid"][layer] == pytest.approx(wanted.total, abs=1e-4)
        assert mine["spectrum_change"][layer] == pytest.approx(wanted.spectrum_change, abs=1e-4)


def test_outputs_against_values_in_closed_form():
    """Two value heads for four output heads, four tokens."""
    values = torch.randn(4, 2, 3, dtype=torch.float64)
    uniform = values.mean(0, keepdim=True).expand(4, 2, 3).repeat_interleave(2, dim=1)
    found = compare(values, uniform)
    assert found["mean_shift"] == pytest.approx(0, abs=1e-12)
    assert found["variance_ratio"] == pytest.approx(0, abs=1e-12)
    same = compare(values, values.repeat_interleave(2, dim=1))
    assert same["variance_ratio"] == pytest.approx(1)
    first = values[:1].expand(4, 2, 3).repeat_interleave(2, dim=1)
    shift = (values[0] - values.mean(0)).norm(dim=1)
    spread = (values - values.mean(0)).square().sum(2).mean(0).sqrt()
    assert compare(values, first)["mean_shift"] == pytest.approx(float((shift / spread).mean()))


def test_outputs_are_those_of_uniform_attention_without_scores(vlm, samples):
    """With queries at zero, row t of A is 1 / t: outputs are running means of the values."""
    sample, attention = samples[0], vlm.layers[3].self_attn
    zeroed = attention.q_proj.register_forward_hook(lambda _, __, out: torch.zeros_like(out))
    seen = []
    watch = attention.v_proj.register_forward_hook(lambda _, __, out: seen.append(out[0]))
    try:
        table = output_against_values(vlm, [sample])
    finally:
        zeroed.remove()
        watch.remove()
    [values] = (each.double().unflatten(-1, (-1, attention.head_dim)) for each in seen)
    counts = torch.arange(1, len(values) + 1)[:, None, None]
    wanted = compare(values, values.cumsum(0) / counts)
    row = table.set_index("layer").loc[3]
    assert row["mean_shift"] == pytest.approx(wanted["mean_shift"], rel=1e-3)
    assert row["variance_ratio"] == pytest.approx(wanted["variance_ratio"], rel=1e-3)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tokens": "images"}, "tokens: expected one of .* got 'images'"),
        ({"samples": []}, "samples: expected at least one"),
        ({"batch_size": 0}, "batch_size: expected at least 1, got 0"),
        ({"batch_size": 1.5}, "batch_size: expected a whole number, got 1.5"),
        ({"output": Path("/dev/null/run.jsonl")}, "output: expected a place that can be written"),
        ({"controls": {"own": Noise(0)}}, "controls: expected names other than 'own'"),
        ({"resume": True}, "resume: expected an output"),
    ],
)
def test_bad_arguments_are_refused_before_the_model_runs(vlm, samples, counted, changes, message):
    with pytest.raises(ValueError, match=message):
        measure(vlm, **{"samples": samples} | changes)
    assert not counted


def test_the_other_measures_refuse_them_too(vlm, samples):
    for other in (rope_tolerance, output_against_values):
        with pytest.raises(ValueError, match="samples: expected at least one"):
            other(vlm, [])
        with pytest.raises(ValueError, match="batch_size: expected at least 1, got -2"):
            other(vlm, samples, batch_size=-2)
