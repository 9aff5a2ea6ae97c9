"""Traces that are kept: equal to those of now, gone on with, and not taken for other ones."""

import copy
from dataclasses import replace

import matplotlib.pyplot as plt
import pandas as pd
import pytest
import torch
from transformers import LlamaConfig, SmolVLMForConditionalGeneration

from families import smolvlm, untrained
from lost_in_attention.benchmarks import load_benchmark
from lost_in_attention.evaluation import ablations, answer_under
from lost_in_attention.evaluation.decoding import GREEDY
from lost_in_attention.evaluation.measured import Subject
from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.publishing.trace_figures import case_of, draw_graphs, layers_shown
from lost_in_attention.trace import cases, key_regions, measuring, trace
from lost_in_attention.trace import stored as stored_module
from lost_in_attention.trace.cases import questions_for
from lost_in_attention.trace.counting import thresholds
from lost_in_attention.trace.measuring import Tracing
from lost_in_attention.trace.stored import (
    agreement,
    origins,
    traced_answers,
    traced_cases,
    traced_edges,
    traced_path,
)
from lost_in_attention.trace.trace_run import TraceRun

MODEL = "small-llava"
ASKED = TraceRun(MODEL, cases=2, questions=16, counted=3)
FEW = {"wanted": ASKED.cases, "at_most": ASKED.questions}
TABLES = ("answers", "cases", "edges")


@pytest.fixture(scope="module", autouse=True)
def small_batches():
    """Eight questions are asked, and two cases traced, at a time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cases, "BATCH", 8)
        for module in (measuring, stored_module):
            patch.setattr(module, "TOGETHER", 2)
        yield


@pytest.fixture(scope="module")
def tracing():
    return Tracing(Subject(MODEL), questions_for([MODEL], seed=0)[MODEL], 0.1)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """The folder in which the command has left its tables, under a folder for models."""
    places = {name: tmp_path_factory.mktemp(name) for name in ("runs", "output")}
    return ASKED.run(**places).parent


@pytest.fixture
def no_model(monkeypatch):
    """Whoever would ask or trace now fails."""

    def asked(*args, **kwargs):
        raise AssertionError("the model was asked")

    monkeypatch.setattr(cases, "evaluate", asked)
    monkeypatch.setattr(measuring, "trace_batch", asked)


def same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(
        one.reset_index(drop=True), other.reset_index(drop=True), check_dtype=False
    )


def test_what_is_stored_is_what_is_traced_now(tracing, stored, tmp_path):
    kept, live = (traced_cases(tracing, **FEW, folder=place) for place in (stored, tmp_path))
    assert kept.facts and live.facts is None
    same(kept.answers, live.answers)
    same(kept.counts, live.counts)
    same(kept.ratios(), live.ratios())
    assert kept.note() == live.note()
    (edges, facts), (now, none) = (
        traced_edges(tracing, ASKED.counted, place) for place in (stored, tmp_path)
    )
    same(edges, now)
    assert facts and none is None
    assert len(kept.seen) and kept.counts["layer"].nunique() == len(tracing.vlm.layers)


@pytest.mark.usefixtures("no_model")
def test_fewer_are_the_first_of_those_stored(tracing, stored):
    fewer = traced_cases(tracing, wanted=1, at_most=ASKED.questions, folder=stored)
    every = traced_cases(tracing, **FEW, folder=stored)
    assert set(fewer.counts["sample"]) < set(every.counts["sample"])
    assert fewer.chosen["correct"].value_counts().max() == 1
    assert len(traced_edges(tracing, 1, stored)[0]) * 3 == len(traced_edges(tracing, 3, stored)[0])


@pytest.mark.usefixtures("no_model")
def test_of_other_weights_questions_or_options_nothing_is_taken(tracing, stored):
    changed = copy.deepcopy(tracing.vlm.model)
    with torch.no_grad():
        next(changed.parameters()).add_(1e-3)
    for other in (
        replace(tracing, subject=Subject.of(replace(tracing.vlm, model=changed))),
        replace(tracing, threshold=0.2),
        replace(tracing, questions=questions_for([MODEL], seed=1)[MODEL]),
    ):
        for take in (traced_cases, traced_answers):
            with pytest.raises(AssertionError, match="the model was asked"):
                take(other, **FEW, folder=stored)
        with pytest.raises(AssertionError, match="the model was asked"):
            traced_edges(other, 3, stored)
    for more in ({"wanted": 3}, {"at_most": 17}):
        with pytest.raises(AssertionError, match="the model was asked"):
            traced_cases(tracing, **(FEW | more), folder=stored)


def test_the_files_say_how_they_were_made(stored):
    _, facts = traced_edges(
        Tracing(Subject(MODEL), questions_for([MODEL], seed=0)[MODEL], 0.1), 1, stored
    )
    assert f"trace --model {MODEL} --source own" in facts["command"]
    assert facts["tier"] == "book" and facts["options"]["seed"] == 0
    assert {"identity", "samples", "annotations", "versions", "device", "finished"} <= facts.keys()
    words = origins({"a": facts, "b": None})
    assert words == (
        f"Numbers of a ({facts['finished'][:10]}) are stored ones, made by "
        "python -m lost_in_attention trace. Numbers of b were just computed."
    )


def test_a_run_that_broke_off_goes_on(stored, tmp_path, monkeypatch):
    """It breaks at the second of the cases' batches; no question is asked, no case traced twice."""
    trace_batch, traced = measuring.trace_batch, []

    def breaking(vlm, batch, **how):
        if len(traced) == 1:
            raise KeyboardInterrupt
        return going(vlm, batch, **how)

    def going(vlm, batch, **how):
        traced.append([sample.id for sample in batch])
        return trace_batch(vlm, batch, **how)

    places = {name: tmp_path / name for name in ("runs", "output")}
    monkeypatch.setattr(measuring, "trace_batch", breaking)
    with pytest.raises(KeyboardInterrupt):
        ASKED.run(**places)
    assert not list(places["output"].rglob("*.parquet"))
    kept = sorted(path.read_text() for path in places["runs"].rglob("answers-*.jsonl"))
    monkeypatch.setattr(measuring, "trace_batch", going)
    folder = ASKED.run(**places)
    assert kept == sorted(p.read_text() for p in places["runs"].rglob("answers-*.jsonl"))
    # The last two batches are of the questions whose edges are counted.
    every = [sample for batch in traced[:-2] for sample in batch]
    assert len(every) == len(set(every)) == 4
    for name in TABLES:
        same(*(pd.read_parquet(each / f"{name}.parquet") for each in (folder, stored / MODEL)))


def test_the_first_cases_agree_with_stored_ones(tracing, stored, tmp_path):
    words = agreement(tracing, traced_cases(tracing, **FEW, folder=stored))
    assert words.startswith("the first 2 cases were traced again, and 100.00% of ")
    live = traced_cases(tracing, **FEW, folder=tmp_path)
    assert agreement(tracing, live) == "nothing is stored to compare with"


def test_a_folder_is_named_as_the_model(tmp_path):
    names = ("small-llava", "owner/model", "/home/me/mine")
    folders = [traced_path(name, "cases", tmp_path).parent.name for name in names]
    assert folders == ["small-llava", "owner--model", "mine"]


def test_each_model_is_asked_in_its_own_world():
    with pytest.raises(ValueError, match="source: expected .* for 'a/b'"):
        questions_for(["a/b"], seed=0)
    found = questions_for(["small-llava", "small-qwen2.5-vl"], seed=0)
    first, second = found.values()
    assert first is second and first.source == "digits" and first.absent > len(first.samples)
    assert questions_for(["a/b"], source="pictures", seed=0)["a/b"].source == "pictures"


# --- A model of the pretrained one's depth ----------------------------------------------------


@pytest.fixture(scope="module")
def deep() -> VisionLanguageModel:
    """SmolVLM with 30 narrow layers, nine heads and three groups of keys and values."""
    tokenizer = untrained("smolvlm").processor.tokenizer
    config, processor = smolvlm(tokenizer, side=128, patch_size=8, split=False)
    narrow = {"hidden_size": 72, "intermediate_size": 72, "num_hidden_layers": 30}
    heads = {"num_attention_heads": 9, "num_key_value_heads": 3}
    shape = config.text_config.to_dict() | narrow | heads | {"head_dim": 8}
    config.text_config = LlamaConfig(**shape)
    torch.manual_seed(0)
    return VisionLanguageModel(SmolVLMForConditionalGeneration(config).eval(), processor, "deep")


def test_thirty_layers_are_counted_and_nine_are_drawn(deep):
    asked = questions_for(["deep"], source="pictures", seed=0)["deep"]
    tracing = Tracing(Subject.of(deep), asked, 0.02)
    samples = [asked.samples[i] for i in range(2)]
    counts = tracing.cases(samples)
    assert counts.groupby("sample")["layer"].nunique().tolist() == [30, 30]
    assert set(counts["tokens"]) == {64, 60} and set(counts["tau"]) == set(thresholds(0.02))
    assert tracing.edges(1)["layer"].nunique() == 30
    [region] = key_regions(deep, samples[:1], asked.objects).regions.values()
    edges = trace(deep, samples[:1], threshold=0.02).edges
    graphs = [(f"layer {i}", edges[edges["layer"] == i]) for i in layers_shown(30)]
    fig = draw_graphs(case_of(deep, samples[0], region), graphs)
    assert [ax.get_title() for ax in fig.axes][-1] == "layer 29" and len(fig.axes) == 9
    plt.close(fig)


def test_what_bands_and_ranges_are_at_nine_heads_and_thirty_layers(deep):
    variants = ablations("smolvlm", depth=30)
    heads = deep.decoder.config.num_attention_heads
    bands = [list(v.plan.ranks(heads)) for v in variants if v.preset == "heads"]
    assert bands == [[0, 1, 2], [3, 4], [5, 6, 7], [2, 3, 4, 5, 6], list(range(9))]
    ranges = [v.plan.layers for v in variants if v.preset == "layers"]
    assert ranges == [(0, 7), (8, 14), (15, 21), (22, 29), (0, 14), (15, 29)]
    samples = [load_benchmark("pope", "pictures")[i] for i in range(2)]
    layered = (v for v in variants if v.preset == "layers")
    middle, late = variants[3], next(v for v in layered if v.plan.layers == (22, 29))
    same = [v for v in variants if v.plan == middle.plan]
    assert [v.preset for v in same] == ["heads", "layers"] and late in same
    asked = []
    hook = deep.layers[22].self_attn.register_forward_hook(lambda *_: asked.append(1))
    answers = answer_under(deep, samples, benchmark="pope", variants=same)
    hook.remove()
    passes = len(asked)
    [first, second] = (rows["reply"].tolist() for _, rows in answers.groupby("preset"))
    assert first == second and len(answers) == 2 * 2 and passes <= GREEDY.max_new_tokens
