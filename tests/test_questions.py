"""Evaluation: one row a question, the same from one process, several, or after a crash."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from conftest import ROOT, in_two_processes
from lost_in_attention.__main__ import app
from lost_in_attention.benchmarks import load_benchmark
from lost_in_attention.evaluation import decoding as decodings
from lost_in_attention.evaluation import questions as module
from lost_in_attention.evaluation.decoding import (
    GREEDY,
    PAPER,
    REASONING,
    Decoding,
    decoding_for,
    prompt_for,
    prompted,
)
from lost_in_attention.evaluation.grid_run import GridRun
from lost_in_attention.evaluation.questions import evaluate
from lost_in_attention.models import load
from lost_in_attention.models.registry import registry
from lost_in_attention.publishing.claims import text_claims
from lost_in_attention.runs.provenance import weights_digest

# As the model's own generation settings say, and these say: sample.
SAMPLED = Decoding("sampled", max_new_tokens=6, greedy=False)


def sampling_model():
    vlm = load("small-qwen2.5-vl")
    vlm.model.generation_config.update(do_sample=True, temperature=4.0)
    return vlm


def seven_questions():
    return load_benchmark("pope").draw(7, seed=2)


def ask(vlm, samples, **changes) -> pd.DataFrame:
    """Batches of 3, 3 and 1: the last one is short, and two processes share three."""
    options = {"benchmark": "pope", "decoding": SAMPLED, "seed": 5, "batch_size": 3}
    return evaluate(vlm, samples, **options | changes)


@pytest.fixture(scope="module")
def vlm():
    return sampling_model()


@pytest.fixture(scope="module")
def samples():
    return list(seven_questions())


@pytest.fixture(scope="module")
def one_process(vlm, samples, tmp_path_factory):
    """The table of an undisturbed run, and its file."""
    path = tmp_path_factory.mktemp("one") / "run.jsonl"
    return ask(vlm, samples, output=path), path


@pytest.fixture
def batches(monkeypatch):
    """The size of every batch that the model answers; the list is filled as it does."""
    sizes = []

    def counted(vlm, batch, *args, **options):
        sizes.append(len(batch))
        return decodings.replies(vlm, batch, *args, **options)

    monkeypatch.setattr(module, "replies", counted)
    return sizes


def test_one_row_a_question_in_order(vlm, samples):
    table = ask(vlm, samples, decoding=GREEDY)
    assert table["sample"].tolist() == [s.id for s in samples]
    assert table["prompt"].tolist() == [s.prompt for s in samples]
    assert (table["correct"] == (table["parsed"] == table["answer"])).all()
    same = table[["model", "benchmark", "decoding", "seed"]].drop_duplicates()
    assert same.to_numpy().tolist() == [["small-qwen2.5-vl", "pope", "greedy", 5]]
    assert torch.__version__.split("+")[0] in table["versions"].unique().item()


def test_further_columns_of_a_sample_stand_in_its_row(vlm, samples):
    table = ask(vlm, [replace(samples[0], fields={"set_id": "4"})])
    assert table["set_id"].tolist() == ["4"]


def test_a_reply_that_was_cut_says_so_and_is_no_answer(vlm, samples):
    """One token is all it gets: a letter or a word, but no end."""
    cut = ask(vlm, samples, decoding=Decoding("short", max_new_tokens=1, greedy=True))
    assert not cut["finished"].any() and cut["parsed"].isna().all() and (cut["reply"] != "").all()
    whole = ask(vlm, samples, decoding=GREEDY)
    assert whole["finished"].all() and whole["parsed"].notna().all()


def test_rules_that_the_benchmark_does_not_have_are_refused(vlm, samples):
    with pytest.raises(ValueError, match=r"judging: expected one of .* for pope, got 'lenient'"):
        ask(vlm, samples, judging="lenient")


def test_an_unparsed_reply_is_none_and_wrong(vlm, samples, monkeypatch):
    said = decodings.Reply("perhaps", finished=True)
    monkeypatch.setattr(module, "replies", lambda vlm, batch, *_, **__: [said] * len(batch))
    table = ask(vlm, samples)
    assert table["parsed"].isna().all() and not table["correct"].any()


def test_a_longer_neighbour_does_not_change_a_greedy_reply(vlm, samples):
    long = replace(samples[0], prompt=f"{samples[0].prompt} {samples[0].prompt}")
    alone = ask(vlm, samples, decoding=GREEDY, batch_size=1)
    beside = ask(vlm, [*samples, long], decoding=GREEDY, batch_size=8)
    assert alone["reply"].tolist() == beside["reply"].tolist()[:7]


def test_greedy_ignores_the_settings_that_a_model_ships(vlm, samples, monkeypatch):
    # A penalty below 1 rewards the words of the prompt; without an image the model is unsure.
    monkeypatch.setattr(vlm.model.generation_config, "repetition_penalty", 0.01)
    plain, unsure = load("small-qwen2.5-vl"), [s.blanked() for s in samples] * 4
    assert vlm.model.generation_config.do_sample and not plain.model.generation_config.do_sample
    pd.testing.assert_frame_equal(
        ask(vlm, unsure, decoding=GREEDY), ask(plain, unsure, decoding=GREEDY)
    )


def test_sampled_replies_hang_on_the_seed_alone(vlm, samples, one_process):
    torch.manual_seed(123)
    before = torch.random.get_rng_state()
    pd.testing.assert_frame_equal(ask(vlm, samples), one_process[0])
    assert torch.equal(torch.random.get_rng_state(), before)
    other = ask(vlm, samples, seed=6)
    assert (other["reply"] != one_process[0]["reply"]).any()


def test_batches_of_one_run_are_sampled_apart(vlm, samples):
    table = ask(vlm, [samples[0]] * 8, batch_size=1)
    assert table["reply"].nunique() > 1


def test_the_papers_setting_is_the_papers():
    claim = text_claims().set_index("quantity").loc["max_new_tokens"]
    assert PAPER.arguments() == {"max_new_tokens": int(claim["value"])}


def test_a_run_that_broke_off_goes_on_and_repeats_nothing(
    vlm, samples, one_process, batches, monkeypatch, tmp_path
):
    path = tmp_path / "run.jsonl"
    counted = module.replies

    def breaks(vlm, batch, *args, **options):
        if len(batches) == 2:
            raise KeyboardInterrupt
        return counted(vlm, batch, *args, **options)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "replies", breaks)
        ask(vlm, samples, output=path)
    with path.open("a") as file:
        file.write('{"model": "small')
    table = ask(vlm, samples, output=path, resume=True)
    assert batches == [3, 3, 1]
    pd.testing.assert_frame_equal(table, one_process[0])
    assert path.read_bytes() == one_process[1].read_bytes()
    pd.testing.assert_frame_equal(ask(vlm, samples, output=path, resume=True), table)
    assert batches == [3, 3, 1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"benchmark": "vqa"}, "benchmark: expected one of .* got 'vqa'"),
        ({"samples": []}, "samples: expected at least one"),
        ({"seed": -1}, "seed: expected a whole number, 0 or more, got -1"),
        ({"batch_size": 0}, "batch_size: expected at least 1, got 0"),
        ({"resume": True}, "resume: expected an output"),
    ],
)
def test_bad_arguments_are_refused_before_the_model_runs(vlm, samples, batches, changes, message):
    with pytest.raises(ValueError, match=message):
        ask(vlm, **{"samples": samples} | changes)
    assert not batches


def test_another_run_is_refused_before_the_model_runs(vlm, samples, one_process, batches):
    path = one_process[1]
    with pytest.raises(FileExistsError, match="output: expected no run in .*run.jsonl"):
        ask(vlm, samples, output=path)
    others = [
        ({"model": "x"}, "model 'small-qwen2.5-vl' there, 'x' now"),
        ({"samples": samples[:6]}, "samples 7 there, 6 now"),
        ({"samples": [*samples[:6], samples[6].blanked()]}, "questions"),
        ({"samples": [samples[i] for i in (0, 2, 1, 3, 4, 5, 6)]}, "questions"),
        ({"decoding": replace(SAMPLED, max_new_tokens=7)}, "'max_new_tokens': 7"),
        ({"seed": 6}, "seed 5 there, 6 now"),
        ({"batch_size": 7}, "batch_size 3 there, 7 now"),
    ]
    for changes, message in others:
        renamed = replace(vlm, name=changes.pop("model", vlm.name))
        with pytest.raises(ValueError, match=message):
            ask(renamed, **{"samples": samples, "output": path, "resume": True} | changes)
    weight = vlm.layers[0].self_attn.q_proj.weight
    learned = weight.data
    try:
        weight.data = 2 * learned
        with pytest.raises(ValueError, match="weights"):
            ask(vlm, samples, output=path, resume=True)
    finally:
        weight.data = learned
    assert not batches


def shared_run(folder: Path) -> pd.DataFrame:
    return ask(sampling_model(), seven_questions(), output=folder / "run.jsonl")


def test_two_processes_give_the_table_of_one(one_process, tmp_path):
    table, path = one_process
    for stored in in_two_processes(shared_run, tmp_path):
        pd.testing.assert_frame_equal(stored, table)
    assert (tmp_path / "run.jsonl").read_bytes() == path.read_bytes()


def test_the_command_under_torchrun(tmp_path):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    launcher += ["--nproc_per_node", "2", "-m", "lost_in_attention", "evaluate"]
    options = ["--model", "small-qwen2.5-vl", "--benchmark", "pope", "--questions", "5"]
    options += ["--batch-size", "2", "--output", str(tmp_path / "run.jsonl")]
    settings = os.environ | {"OMP_NUM_THREADS": "1"}
    first = subprocess.run(
        [*launcher, *options], cwd=ROOT, env=settings, capture_output=True, text=True
    )
    assert first.returncode == 0, first.stderr
    assert "5 questions, processes: 2" in first.stdout
    assert first.stdout.count("accuracy") == 1
    assert len((tmp_path / "run.jsonl").read_text().splitlines()) == 5
    again = subprocess.run(
        [*launcher, *options], cwd=ROOT, env=settings, capture_output=True, text=True
    )
    assert again.returncode != 0 and "output: expected no run in" in again.stderr


def test_the_reasoning_prompt_stands_behind_every_question():
    plain = load_benchmark("pope").draw(3, seed=0)
    reasoning = prompted(plain, "reasoning")
    assert [s.prompt for s in prompted(plain, "plain")] == [s.prompt for s in plain]
    # What a list of samples can do is still there.
    assert reasoning.blanked()[1:][0].prompt == reasoning[1].prompt
    assert [s.prompt.removesuffix(f"\n{REASONING}") for s in reasoning] == [s.prompt for s in plain]
    assert "<think> </think>" in REASONING and "<answer> </answer>" in REASONING
    with pytest.raises(ValueError, match="prompt: expected one of .* got 'mine'"):
        prompted(plain, "mine")


@pytest.mark.parametrize("model", registry(), ids=lambda model: model.name)
def test_a_registered_model_is_asked_as_its_category_is(model):
    """Appendix C.2: a trigger and 1,024 tokens for models that reason; anything else on request."""
    expected = ("reasoning", "paper") if model.category == "reasoning" else ("plain", "greedy")
    assert (prompt_for(model.hub), decoding_for(model.hub)) == expected
    assert prompt_for(model.hub, "plain") == "plain"
    assert decoding_for(model.hub, "greedy") == "greedy"


def test_the_category_decides_what_a_run_asks_and_the_run_says_so():
    reasoning = GridRun("minglingfeng/Ocean_R1_7B_Instruct", "digits", "pope", questions=2)
    assert reasoning.asked_with == {"prompt": "reasoning", "decoding": "paper"}
    assert all(REASONING in sample.prompt for sample in reasoning.samples()["pope"])
    for other in (replace(reasoning, model="small-llava"), replace(reasoning, prompt="plain")):
        assert not any(REASONING in sample.prompt for sample in other.samples()["pope"])
    assert replace(reasoning, prompt="plain").asked_with["decoding"] == "paper"


def test_the_command_takes_prompt_and_number_format(tmp_path):
    output = tmp_path / "run.jsonl"
    command = ["evaluate", "--model", "small-qwen2.5-vl", "--benchmark", "pope", "--questions", "2"]
    command += ["--prompt", "reasoning", "--dtype", "bfloat16", "--output", str(output)]
    ended = CliRunner().invoke(app, command)
    assert ended.exit_code == 0 and "prompt: reasoning, decoding: greedy" in ended.stdout
    assert all(REASONING in json.loads(line)["prompt"] for line in output.open())
    settings = json.loads(output.with_name("run.jsonl.settings.json").read_text())
    plain = load("small-qwen2.5-vl", dtype=torch.bfloat16)
    assert settings["weights"] == weights_digest(plain.model)
    for option, value in (("--prompt", "mine"), ("--dtype", "int8"), ("--decoding", "beam")):
        refused = CliRunner().invoke(app, [*command, option, value])
        assert refused.exit_code and f"{option[2:]}: expected" in str(refused.exception)


def test_a_batch_is_no_larger_than_memory_holds(vlm, samples, monkeypatch, tmp_path):
    """Greedy replies do not hang on it; sampled ones do, and keep the size that was asked for."""
    path = tmp_path / "run.jsonl"
    usual = ask(vlm, samples, decoding=GREEDY)
    monkeypatch.setattr("lost_in_attention.evaluation.lane.fitting_batch", lambda *_, **__: 2)
    fewer = ask(vlm, samples, decoding=GREEDY, output=path)
    assert fewer["reply"].tolist() == usual["reply"].tolist()
    settings = json.loads(path.with_name("run.jsonl.settings.json").read_text())
    assert settings["batch_size"] == 2
    sampled = tmp_path / "sampled.jsonl"
    ask(vlm, samples, output=sampled)
    settings = json.loads(sampled.with_name("sampled.jsonl.settings.json").read_text())
    assert settings["batch_size"] == 3
