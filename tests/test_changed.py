"""A changed model cannot pass for the untouched one, nor the untouched one for a changed one."""

from contextlib import contextmanager
from dataclasses import replace

import pandas as pd
import pytest
import torch

from lost_in_attention.benchmarks import load_benchmark
from lost_in_attention.evaluation import answer_under, family_of, presets
from lost_in_attention.evaluation.questions import evaluate
from lost_in_attention.models import VisionLanguageModel, load
from lost_in_attention.models.changed import changing, check_named
from lost_in_attention.models.shipped import chosen_models, saved_steps, saved_weights
from lost_in_attention.residual.baselines import noise_qkv, noise_update, without_rope
from lost_in_attention.residual.measure import measure
from lost_in_attention.residual.rope_tolerance import rope_tolerance
from lost_in_attention.residual.stream import record
from lost_in_attention.residual.value_average import output_against_values
from lost_in_attention.trace.graphs import trace

QUESTIONS = 60


@contextmanager
def first_step(vlm):
    """The weights of the first saved step, in the model's place."""
    steps = saved_steps("small-qwen2.5-vl")
    with saved_weights(vlm, steps[min(steps)]) as early:
        yield early


BLOCKS = {
    "no RoPE": without_rope,
    "noise update, seed 3": lambda vlm: noise_update(vlm, seed=3),
    "noise QKV, seed 3": lambda vlm: noise_qkv(vlm, seed=3),
    "step-00000": first_step,
}
each_block = pytest.mark.parametrize("what", BLOCKS)


@pytest.fixture(scope="module")
def vlm():
    return load("small-qwen2.5-vl")


@pytest.fixture(scope="module")
def samples():
    return list(load_benchmark("pope").draw(4, seed=2))


def vanilla(vlm):
    """The grid's only variant that leaves attention alone."""
    grid = presets(family_of(vlm), depth=len(vlm.layers))
    return [variant for variant in grid if variant.plan is None and not variant.blank]


def write(vlm, samples, tmp_path):
    evaluate(vlm, samples, benchmark="pope", output=tmp_path / "run.jsonl")


RUNS = {
    "evaluate": lambda vlm, s, _: evaluate(vlm, s, benchmark="pope"),
    "evaluate into a file": write,
    "measure": lambda vlm, s, _: measure(vlm, s),
    "measure into a file": lambda vlm, s, to: measure(vlm, s, output=to / "run.jsonl"),
    "rope_tolerance": lambda vlm, s, _: rope_tolerance(vlm, s),
    "output_against_values": lambda vlm, s, _: output_against_values(vlm, s),
    "trace": lambda vlm, s, _: trace(vlm, s),
    "answer_under": lambda vlm, s, _: answer_under(vlm, s, benchmark="pope", variants=vanilla(vlm)),
    "record": lambda vlm, s, _: record(
        vlm, vlm.prepare([s[0].images], [s[0].prompt]), lambda state: None
    ),
}
each_run = pytest.mark.parametrize("run", RUNS)


@each_run
@each_block
def test_the_untouched_handle_is_refused_inside_every_block(vlm, samples, tmp_path, run, what):
    passes = []
    counter = vlm.decoder.register_forward_hook(lambda *_: passes.append(1))
    message = f"vlm: expected a model as it is named, got 'small-qwen2.5-vl' inside .*{what}"
    try:
        with BLOCKS[what](vlm), pytest.raises(ValueError, match=message):
            RUNS[run](vlm, samples, tmp_path)
    finally:
        counter.remove()
    assert not passes and not list(tmp_path.iterdir())


@each_run
def test_a_changed_handle_is_refused_when_its_block_has_ended(vlm, samples, tmp_path, run):
    with without_rope(vlm) as bare:
        pass
    with pytest.raises(ValueError, match=r"got 'small-qwen2.5-vl \(no RoPE\)', whose block has"):
        RUNS[run](bare, samples, tmp_path)
    # A later block of the same kind is another one.
    with without_rope(vlm), pytest.raises(ValueError, match="leave the block or use what it yie"):
        RUNS[run](bare, samples, tmp_path)
    assert not list(tmp_path.iterdir())


def test_no_handle_made_by_hand_passes(vlm, samples):
    with noise_qkv(vlm, seed=0) as noisy:
        check_named(noisy)
        for other in (
            replace(noisy, name=vlm.name),
            VisionLanguageModel(vlm.model, vlm.processor, noisy.name),
            replace(noisy, changes=()),
        ):
            with pytest.raises(ValueError, match="expected a model as it is named"):
                evaluate(other, samples, benchmark="pope")


def test_blocks_nest_by_what_they_yield(vlm):
    with without_rope(vlm) as bare:
        with noise_update(bare, seed=1) as both:
            assert both.name == "small-qwen2.5-vl (no RoPE) (noise update, seed 1)"
            check_named(both)
            with pytest.raises(ValueError, match="'no RoPE' and 'noise update, seed 1'"):
                check_named(bare)
        check_named(bare)
        with pytest.raises(ValueError, match="expected a model as it is named"):
            noise_update(vlm, seed=1).__enter__()
    check_named(vlm)


def test_the_mark_goes_with_an_error(vlm):
    with pytest.raises(KeyboardInterrupt), changing(vlm, "anything"):
        raise KeyboardInterrupt
    check_named(vlm)


@each_block
def test_the_two_conditions_differ_and_the_untouched_one_is_the_plain_model(vlm, samples, what):
    """What chapters 07, 08 and 11 compare: measured before, within and after the block."""
    before = measure(vlm, samples)
    with BLOCKS[what](vlm) as changed:
        within = measure(changed, samples)
    after = measure(vlm, samples)
    pd.testing.assert_frame_equal(after, before)
    deeper = before["layer"] > 0
    assert ((within["rid"] - before["rid"]).abs()[deeper] > 1e-6).mean() > 0.9


@pytest.mark.parametrize("name", chosen_models("families"))
def test_accuracy_with_and_without_rotary_embedding(name):
    """Chapter 08's 60 questions: the right shares, and the first one is the plain model's."""
    right = {
        "small-llava": (0.933, 0.883),
        "small-llava-next": (0.933, 0.167),
        "small-llava-onevision": (0.900, 0.867),
        "small-qwen2.5-vl": (0.817, 0.050),
    }
    vlm, questions = load(name), list(load_benchmark("pope").draw(QUESTIONS, seed=0))
    plain = evaluate(vlm, questions, benchmark="pope")
    with without_rope(vlm) as bare:
        without = evaluate(bare, questions, benchmark="pope")
    assert (round(plain["correct"].mean(), 3), round(without["correct"].mean(), 3)) == right[name]
    again = evaluate(vlm, questions, benchmark="pope")
    assert again["reply"].tolist() == plain["reply"].tolist()


def test_vanilla_is_the_plain_model_and_a_plan_is_not(vlm):
    """What chapters 12 and 13 compare."""
    questions = list(load_benchmark("vmcbench").draw(20, seed=0))
    grid = presets(family_of(vlm), depth=len(vlm.layers))
    [everywhere] = [v for v in grid if (v.preset, v.name) == ("everywhere", "uniform")]
    variants = [*vanilla(vlm), everywhere]
    answers = answer_under(vlm, questions, benchmark="vmcbench", variants=variants)
    plain = evaluate(vlm, questions, benchmark="vmcbench")
    replies = answers.groupby("variant")["reply"].agg(list)
    assert replies["vanilla"] == plain["reply"].tolist()
    assert replies["uniform"] != replies["vanilla"]


def test_the_weights_of_a_step_are_gone_after_the_block(vlm):
    weights = {key: value.clone() for key, value in vlm.model.state_dict().items()}
    with first_step(vlm) as early:
        assert early.name == "small-qwen2.5-vl (step-00000)"
        now = early.model.state_dict()
        assert not all(torch.equal(now[key], weights[key]) for key in weights)
    assert all(torch.equal(value, weights[key]) for key, value in vlm.model.state_dict().items())
