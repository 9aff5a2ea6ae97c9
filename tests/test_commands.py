"""Commands refuse bad input with one line that names it, and an exit status that is not 0."""

import re
import subprocess
import sys

import pytest
import typer
from transformers import AutoModelForImageTextToText

from conftest import ROOT
from lost_in_attention.__main__ import app
from lost_in_attention.runs.paths import check_writable
from lost_in_attention.runs.provenance import without_folders
from lost_in_attention.runs.refusals import run
from lost_in_attention.teaching.__main__ import app as exercises

ASK = "evaluate --model small-llava --benchmark pope --output {tmp}/replies.jsonl"
SAP = "sap --model small-llava --benchmarks pope --questions 2 --runs {tmp}/runs --output {tmp}/out"
TRACE = "trace --model small-llava --runs {tmp}/runs --output {tmp}/out"
MEASURE = "measure --model small-llava --questions 2 --runs {tmp}/runs --output {tmp}/out"
SINKS = "sinks --model small-llava --count 2 --output {tmp}/out"
PLACE = "a place that can be written, got "


@pytest.fixture(autouse=True)
def no_work(monkeypatch):
    """Whatever is refused is refused before a model is read."""

    def work(*args, **kwargs):
        raise AssertionError("work began")

    monkeypatch.setattr(AutoModelForImageTextToText, "from_pretrained", work)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (ASK + " --model small-lava", "name: expected one of .*'small-llava', .* got 'small-lava'"),
        (ASK + " --model ./nowhere", "name: expected a folder that exists, got './nowhere'"),
        (ASK + " --model 01-ai/Yi-VL-6B --source hub", "name: expected a supported model, got"),
        (ASK + " --benchmark popes", "benchmark: expected one of .*'pope'.* got 'popes'"),
        (
            ASK + " --source nowhere",
            "source: expected 'digits', 'pictures', 'hub', .* got 'nowhere'",
        ),
        (ASK + " --decoding slow", "decoding: expected one of .* got 'slow'"),
        (ASK + " --questions 0", "questions: expected at least 1, got 0"),
        (ASK + " --questions 9999999", "questions: expected 1 to .*, got 9999999"),
        (ASK + " --questions twenty", "'--questions': .* integer"),
        (ASK + " --batch-size 0", "batch_size: expected at least 1, got 0"),
        (ASK + " --seed -1", "seed: expected at least 0, got -1"),
        (ASK + " --output {tmp}", "output: expected a file, got the folder"),
        ([*ASK.split(), "--model", ""], "name: expected the name of a model, got ''"),
        (ASK + " --output {tmp}/file/replies.jsonl", "output: expected " + PLACE),
        (SAP + " --model small-lava", "name: expected one of .* got 'small-lava'"),
        (SAP + " --benchmarks pope,popes", "benchmarks: expected .* got 'pope,popes'"),
        (SAP + " --preset other", "preset: expected .* got 'other'"),
        (SAP + " --questions 0", "questions: expected at least 1, got 0"),
        (SAP + " --batch-size 0", "batch_size: expected at least 1, got 0"),
        (SAP + " --noise-seeds 0", "noise_seeds: expected at least 1, got 0"),
        (SAP + " --seed -1", "seed: expected 0 or more, got -1"),
        (SAP + " --seed one", "'--seed': .* integer"),
        (SAP + " --runs {tmp}/file/runs", "runs: expected " + PLACE),
        (SAP + " --output {tmp}/file/out", "output: expected " + PLACE),
        (TRACE + " --model small-lava", "name: expected one of .* got 'small-lava'"),
        (TRACE + " --model a/b", "source: expected the name of one for 'a/b', .* got none"),
        (TRACE + " --source hub", "annotations: expected a file .* from 'hub', got 'own'"),
        (TRACE + " --annotations nowhere.json", "No such file or directory: 'nowhere.json'"),
        (TRACE + " --annotations pictures", "name: expected one of .*, got 'zero'"),
        (TRACE + " --cases 0", "cases: expected at least 1, got 0"),
        (TRACE + " --questions 0", "questions: expected at least 1, got 0"),
        (TRACE + " --counted 0", "counted: expected at least 1, got 0"),
        (TRACE + " --counted 9999", "counted: expected 1 to 1500, got 9999"),
        (TRACE + " --threshold 2", "threshold: expected more than 0 and at most 1, got 2.0"),
        (TRACE + " --dtype int8", "dtype: expected one of .* got 'int8'"),
        (TRACE + " --seed -1", "seed: expected at least 0, got -1"),
        (TRACE + " --runs {tmp}/file/runs", "runs: expected " + PLACE),
        (TRACE + " --output {tmp}/file/out", "output: expected " + PLACE),
        (MEASURE + " --model small-lava", "name: expected one of .* got 'small-lava'"),
        (MEASURE + " --measurements updates,rids", "measurements: .* 'readings'.* 'updates,rids'"),
        (MEASURE + " --benchmark popes", "benchmark: expected one of .* got 'popes'"),
        (MEASURE + " --source nowhere", "source: expected 'digits', .* got 'nowhere'"),
        (MEASURE + " --model {models}/small-llava", "source: expected the name of one for 'small-"),
        (MEASURE + " --questions 0", "questions: expected at least 1, got 0"),
        (MEASURE + " --questions 9999999", "questions: expected 1 to .*, got 9999999"),
        (MEASURE + " --batch-size 0", "batch_size: expected at least 1, got 0"),
        (MEASURE + " --seed -1", "seed: expected 0 or more, got -1"),
        (MEASURE + " --dtype float8", "dtype: expected one of .* got 'float8'"),
        (MEASURE + " --runs {tmp}/file/runs", "runs: expected " + PLACE),
        (MEASURE + " --output {tmp}/file/out", "output: expected " + PLACE),
        (MEASURE + " --device auto", "device: expected a GPU for 'auto', got a machine without"),
        (SINKS + " --source nowhere", "source: expected 'digits', .* got 'nowhere'"),
        (SINKS + " --model a/b", "source: expected the name of one for 'a/b', .* got none"),
        (SINKS + " --model smollm2 --source hub", "source: expected own for smollm2, got 'hub'"),
        (SINKS + " --count 9999999", "count: expected 2 to .*, got 9999999"),
        (SINKS + " --device gpu", "device: expected one that this machine has, .* got 'gpu'"),
        (TRACE + " --quantization 4bit", "dtype: expected bfloat16 or float16 .* got float32"),
        (SAP + " --quantization 2bit", "quantization: expected one of .* got '2bit'"),
        (SAP + " --attention eager", "attention: expected 'sdpa', in whose .* got 'eager'"),
        (
            ASK + " --quantization 8bit --dtype float16",
            "device: expected a GPU for quantization '8bit', got 'cpu'",
        ),
        (ASK + " --attention flash", "attention: expected one of .*'eager'.* got 'flash'"),
        (ASK + " --revision main", "revision: expected none for a folder, got 'main'"),
        ("pictures --split test", "split: expected one of .* got 'test'"),
        ("pictures --images 0", "images: expected at least 1, got 0"),
        ("pictures --questions 0", "questions: expected at least 1, got 0"),
        ("pictures --seed -1", "seed: expected at least 0, got -1"),
        ("pictures --output {tmp}/file/pictures", "output: expected " + PLACE),
        ("tower --steps 0", "steps: expected at least 1, got 0"),
        ("tower --seed -1", "seed: expected at least 0, got -1"),
        ("tower --runs {tmp}/file/runs", "runs: expected " + PLACE),
        ("train --name large", "name: expected one of .* got 'large'"),
        ("train --device gpu", "device: expected one that this machine has, .* got 'gpu'"),
        ("train --runs {tmp}/file", "runs: expected " + PLACE),
        ("train --output {tmp}/file --runs {tmp}", "output: expected " + PLACE),
        ("models --name qwen", "name: expected one of .*'Qwen-2.5-VL-7B'.*'smollm2'.* got 'qwen'"),
        (["models", "--name", ""], "name: expected one of .* got ''"),
        ("models --device gpu", "device: expected one that this machine has, .* got 'gpu'"),
        ("digits --output {tmp}/file", "output: expected " + PLACE),
        ("digits --output {tmp}/new --seed -1", "seed: expected at least 0, got -1"),
        ("digits --output {tmp}/new --images 0", "images: expected at least 1, got 0"),
        ("scorecard --results {tmp}/nowhere", "'--results': .*nowhere' does not exist"),
        ("scorecard --results {tmp} --output {tmp}/file/page.md", "output: expected " + PLACE),
        ("pages --results {tmp}/nowhere", "'--results': .*nowhere' does not exist"),
        ("model-book --model x --output {tmp}", "output: expected scorecard.md and chapters"),
        ("pages --results {tmp} --output {tmp}/file", "output: expected " + PLACE),
    ],
)
def test_bad_input_is_refused_in_one_line(command, message, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(SystemExit) as end:
        words = command.split() if isinstance(command, str) else command
        run(app, [word.format(tmp=tmp_path, models=ROOT / "data" / "models") for word in words])
    assert end.value.code in (1, 2)
    *_, last = capsys.readouterr().err.strip().splitlines()
    assert last.startswith("Error: ")
    assert re.search(message, last), last
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("name", ["Orsta-7B", "one-rl-to-see-them-all/orsta-7b"])
def test_a_model_is_told_by_name_or_hub_id_and_nothing_is_loaded(name, capsys):
    with pytest.raises(SystemExit) as end:
        run(app, ["models", "--name", name])
    assert end.value.code == 0
    first, second, *_, last = capsys.readouterr().out.splitlines()
    assert (first, second) == ("Orsta-7B", "hub id: One-RL-to-See-Them-All/Orsta-7B")
    assert last == "asked with: prompt reasoning, decoding paper, up to 1024 new tokens"


def test_exercises_refuse_a_chapter_that_is_not_there(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        run(exercises, [str(tmp_path / "99_nowhere.py"), "--output", str(tmp_path / "out")])
    assert end.value.code == 1
    assert "99_nowhere.py" in capsys.readouterr().err


def test_the_command_line_itself_shows_no_traceback(tmp_path):
    command = [sys.executable, "-m", "lost_in_attention", *ASK.format(tmp=tmp_path).split()]
    command += ["--batch-size", "0"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr == "Error: batch_size: expected at least 1, got 0\n"


def test_an_error_that_is_no_refusal_keeps_its_traceback():
    other = typer.Typer()
    other.command()(lambda: int("x"))
    with pytest.raises(ValueError, match="invalid literal"):
        run(other, [])


def test_a_place_that_can_be_written_is_left_as_it_was(tmp_path):
    check_writable("output", tmp_path / "a" / "b")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("/home/me/models/mine", "mine"),
        ("~/mine", "mine"),
        ("../../me/mine", "mine"),
        ("small-llava, /home/me/mine,~/other", "small-llava, mine,other"),
        ("Qwen/Qwen2.5-VL-7B-Instruct", "Qwen/Qwen2.5-VL-7B-Instruct"),
        ("./mine", "./mine"),
        ("a, b", "a, b"),
        (0.5, 0.5),
        (None, None),
    ],
)
def test_folders_of_this_machine_are_left_out_also_in_lists(value, shown):
    assert without_folders(value) == shown


def test_a_valid_training_is_begun_as_asked(tmp_path, monkeypatch, capsys):
    begun = []

    def note(config, **options):
        begun.append((config.name, options))
        return tmp_path / "models" / config.name

    monkeypatch.setattr("lost_in_attention.training.publish.train_and_publish", note)
    folders = {"runs": tmp_path / "runs", "output": tmp_path / "models"}
    with pytest.raises(SystemExit) as end:
        run(app, f"train --name small-llava --runs {folders['runs']} --output "
            f"{folders['output']}".split())  # fmt: skip
    assert not end.value.code
    assert begun == [("small-llava", folders | {"device": "cpu", "checkpoints": False})]
    assert capsys.readouterr().out.split() == [str(tmp_path / "models" / "small-llava")]
