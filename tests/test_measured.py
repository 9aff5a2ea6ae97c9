"""Measurements that are kept: what they are of, when they are read, and how a run goes on."""

import json
import shutil
from dataclasses import dataclass, replace
from typing import ClassVar

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from conftest import ROOT
from lost_in_attention.benchmarks import load_benchmark
from lost_in_attention.evaluation import measured as measured_module
from lost_in_attention.evaluation.measure_run import MeasureRun, draw_at_most
from lost_in_attention.evaluation.measured import (
    NOTHING_STORED,
    Subject,
    agreement,
    check_stored_place,
    measured_path,
    store,
    stored,
    stored_or_measured,
)
from lost_in_attention.evaluation.measurements import MEASUREMENTS, RotaryAnswers
from lost_in_attention.evaluation.questions import evaluate
from lost_in_attention.models import load
from lost_in_attention.models.shipped import own_source
from lost_in_attention.publishing import page, report
from lost_in_attention.residual.baselines import noise_qkv, noise_update, without_rope
from lost_in_attention.residual.measure import measure
from lost_in_attention.residual.measurements import (
    Averaging,
    Baselines,
    Measurement,
    Readings,
    Tolerance,
    Updates,
    own_updates,
    take,
)
from lost_in_attention.residual.readings import READINGS
from lost_in_attention.residual.rope_tolerance import rope_tolerance
from lost_in_attention.residual.value_average import output_against_values

MODEL = "small-llava"


@pytest.fixture(scope="module")
def vlm():
    return load(MODEL)


@pytest.fixture(scope="module")
def samples():
    return list(load_benchmark("pope").draw(3, seed=4))


@pytest.fixture(scope="module")
def averages(vlm, samples):
    return take(Averaging(), vlm, samples, seed=0)


@pytest.fixture
def kept(vlm, samples, averages, tmp_path):
    """A folder with one stored table, of three samples."""
    path = measured_path(MODEL, "averaging", tmp_path)
    origin = {"finished": "then"}
    store(path, averages, Averaging(), Subject.of(vlm), samples, seed=0, origin=origin)
    return tmp_path


@pytest.fixture
def unloadable(monkeypatch):
    """No model can be loaded."""

    def refuse(*args, **kwargs):
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(measured_module, "load", refuse)


def same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    """Equal in every bit; the columns may stand in another order."""
    columns = list(one.columns)
    pd.testing.assert_frame_equal(
        one.reset_index(drop=True), other[columns].reset_index(drop=True), check_exact=True
    )


def test_measurements_go_by_their_names():
    made = {name: make("mmmu") for name, make in MEASUREMENTS.items()}
    assert all(isinstance(each, Measurement) and each.name == name for name, each in made.items())
    assert len({repr(each) for each in made.values()}) == len(made)
    assert made["rotary_answers"] == RotaryAnswers("mmmu")


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_what_is_stored_is_what_was_measured(vlm, samples, name, tmp_path, unloadable):
    measurement, one = MEASUREMENTS[name]("pope"), samples[:1]
    table = take(measurement, vlm, one, seed=3)
    path = measured_path(MODEL, name, tmp_path)
    store(path, table, measurement, Subject.of(vlm), one, seed=3, origin={})
    found, facts = stored_or_measured(measurement, MODEL, one, seed=3, folder=tmp_path)
    assert facts is not None
    same(table, found)


def test_updates_are_those_of_measure(vlm, samples):
    table, direct = take(Updates(), vlm, samples, seed=1), measure(vlm, samples)
    same(own_updates(table).drop(columns="update"), direct)
    rows = 2 * len(vlm.layers) * len(samples)
    counts = table["update"].value_counts().to_dict()
    assert counts == {"own": rows, "resized": rows, "rotated": rows, "noise": rows // 2}


def test_baselines_are_measured_under_noise(vlm, samples):
    table = take(Baselines(draws=2), vlm, samples, seed=1)
    for draw, (name, baseline) in (
        (0, ("noise_delta", noise_update)),
        (1, ("noise_qkv", noise_qkv)),
    ):
        with baseline(vlm, seed=1 + draw) as noisy:
            direct = measure(noisy, samples)
        own = table[(table["draw"] == draw) & (table["module"] == name)]
        same(own.drop(columns=["draw", "module"]), direct[direct["module"] == "attention"])


def test_the_others_are_those_of_their_functions(vlm, samples, averages):
    learned = averages[averages["weights"] == "learned"].drop(columns="weights")
    same(learned, output_against_values(vlm, samples))
    same(take(Tolerance(), vlm, samples, seed=0), rope_tolerance(vlm, samples))
    answers = take(RotaryAnswers(), vlm, samples, seed=0)
    turned_on, turned_off = (answers[answers["rotary"] == each] for each in ("on", "off"))
    same(turned_on.drop(columns="rotary"), evaluate(vlm, samples, benchmark="pope"))
    with without_rope(vlm) as bare:
        same(turned_off.drop(columns="rotary"), evaluate(bare, samples, benchmark="pope"))


def test_readings_change_one_thing_each(vlm, samples):
    table = take(Readings(), vlm, samples[:1], seed=0)
    own = table[table["module"].isin(["attention", "ffn"])]
    assert set(own["reading"]) == set(READINGS)
    assert set(table["module"]) == {"attention", "ffn", "noise_delta", "noise_qkv"}
    by = {name: rows.reset_index(drop=True) for name, rows in own.groupby("reading")}
    direct = measure(vlm, samples[:1])
    assert (by["paper"][["rid", "mixig"]] == direct[["rid", "mixig"]]).all(axis=None)
    # No token of a small model carries a massive activation.
    same(by["paper"].drop(columns="reading"), by["without sinks"].drop(columns="reading"))
    assert (by["visual tokens"]["tokens"] == 64).all()
    # The first module starts at the layer's input, under both readings.
    attention = by["FFN from the layer's input"].query("module == 'attention'")
    paper = by["paper"].query("module == 'attention'")
    assert attention["rid"].to_numpy() == pytest.approx(paper["rid"].to_numpy(), abs=1e-9)


def test_some_of_the_stored_samples_are_taken_without_loading(samples, averages, kept, unloadable):
    table, facts = stored_or_measured(Averaging(), MODEL, samples[1:], seed=0, folder=kept)
    assert facts["finished"] == "then"
    same(averages[averages["sample"] != samples[0].id], table)


def test_other_questions_seeds_and_settings_are_not_taken(vlm, samples, kept):
    def found(measurement=None, asked=samples, seed=0):
        measurement = measurement or Averaging()
        return stored(measurement, Subject.of(vlm), asked, seed=seed, folder=kept)

    @dataclass(frozen=True)
    class Otherwise(Averaging):
        size: float = 0.5

    assert found() is not None
    other = replace(samples[0], prompt="Is there a one?")
    grey = samples[0].blanked()
    assert found(asked=[other]) is None and found(asked=[grey]) is None
    assert found(asked=[*samples, replace(samples[0], id="new")]) is None
    assert found(seed=1) is None
    assert found(measurement=Otherwise()) is None
    assert found(measurement=Tolerance()) is None


def test_other_weights_are_not_taken_and_are_measured(samples, averages, kept, tmp_path):
    """A copy of the folder counts as the model, also under a path, until a weight changes."""
    copy = tmp_path / "copies" / MODEL
    shutil.copytree(ROOT / "data" / "models" / MODEL, copy)
    subject = Subject(str(copy))
    assert stored(Averaging(), subject, samples, seed=0, folder=kept) and not subject.loaded

    weights = load_file(copy / "model.safetensors")
    name = next(name for name in weights if name.endswith("layers.0.self_attn.v_proj.weight")
                and "language" in name)  # fmt: skip
    weights[name][0, 0] += 1
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    table, facts = stored_or_measured(Averaging(), str(copy), samples, seed=0, folder=kept)
    assert facts is None
    assert (table["mean_shift"] != averages["mean_shift"]).any()


def test_equal_weights_in_other_files_are_the_model_and_another_format_is_not(
    vlm, samples, kept, tmp_path
):
    copy = tmp_path / "copies" / MODEL
    shutil.copytree(ROOT / "data" / "models" / MODEL, copy)
    (copy / "notes.json").write_text("{}")
    subject = Subject(str(copy))
    assert stored(Averaging(), subject, samples, seed=0, folder=kept) and subject.loaded
    half = Subject(MODEL, dtype=torch.bfloat16)
    assert stored(Averaging(), half, samples, seed=0, folder=kept) is None and not half.loaded


@pytest.mark.parametrize("suffix", ["parquet", "json"])
def test_a_damaged_file_is_refused(vlm, samples, kept, suffix):
    path = measured_path(MODEL, "averaging", kept).with_suffix(f".{suffix}")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match="results: expected"):
        stored_or_measured(Averaging(), vlm, samples, seed=0, folder=kept)


ASKED: list[str] = []


@dataclass(frozen=True)
class Breaking(Averaging):
    """As `Averaging`, but broken off at one sample."""

    name: ClassVar[str] = "breaking"
    at: ClassVar[str | None] = None

    def rows(self, vlm, batch, seed):
        ASKED.extend(sample.id for sample in batch)
        if self.at in ASKED:
            raise KeyboardInterrupt
        return super().rows(vlm, batch, seed)


def test_a_run_that_broke_off_goes_on(vlm, samples, tmp_path, monkeypatch):
    whole = take(Breaking(), vlm, samples, seed=0, batch_size=1)
    output = tmp_path / "runs" / "breaking.jsonl"
    ASKED.clear()
    monkeypatch.setattr(Breaking, "at", samples[1].id)
    with pytest.raises(KeyboardInterrupt):
        take(Breaking(), vlm, samples, seed=0, batch_size=1, output=output)
    monkeypatch.setattr(Breaking, "at", None)
    ASKED.clear()
    same(whole, take(Breaking(), vlm, samples, seed=0, batch_size=1, output=output))
    assert [sample.id for sample in samples[1:]] == ASKED
    with pytest.raises(ValueError, match="output: expected a run with the same settings .* seed"):
        take(Breaking(), vlm, samples, seed=1, batch_size=1, output=output)
    with pytest.raises(ValueError, match="measurement"):
        take(Averaging(), vlm, samples, seed=0, batch_size=1, output=output)


def test_samples_of_one_id_are_refused(vlm, samples, tmp_path):
    twice = [samples[0], samples[1], samples[0]]
    with pytest.raises(ValueError, match=f"samples: .* different ids, got '{samples[0].id}' twice"):
        take(Averaging(), vlm, twice, seed=0, output=tmp_path / "averaging.jsonl")


def test_tables_of_another_model_or_a_folder_are_not_replaced(kept):
    path = measured_path(MODEL, "averaging", kept)
    check_stored_place(path, MODEL)
    check_stored_place(path, str(ROOT / "data" / "models" / MODEL))
    with pytest.raises(ValueError, match=f"output: .* in {path.parent}, got one of '{MODEL}'"):
        check_stored_place(path, "small-llava-next")
    with pytest.raises(ValueError, match="output: expected a file or nothing, got a folder"):
        check_stored_place(path.parent, MODEL)


def test_a_negative_seed_is_refused(vlm, samples):
    with pytest.raises(ValueError, match="seed: expected 0 or more, got -1"):
        take(Averaging(), vlm, samples, seed=-1)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A data folder of its own for results; the rest is the repository's."""
    data = tmp_path / "data"
    data.mkdir()
    for name in ("models", "digits", "pictures", "paper"):
        (data / name).symlink_to(ROOT / "data" / name)
    monkeypatch.setenv("LOST_IN_ATTENTION_DATA", str(data))
    return data


def test_the_run_writes_where_its_table_comes_from(repository, tmp_path, monkeypatch):
    asked = MeasureRun(MODEL, "averaging", questions=3, seed=2)
    folders = {"runs": tmp_path / "runs", "output": repository / "results" / "measured"}
    [path] = asked.run(**folders)
    facts = json.loads(path.with_suffix(".json").read_text())
    assert facts["command"].startswith("python -m lost_in_attention measure --model small-llava")
    assert "--source digits" in facts["command"] and "--questions 3" in facts["command"]
    assert (facts["tier"], facts["benchmark"], facts["source"], facts["seed"]) == (
        "book", "pope", "digits", 2,
    )  # fmt: skip
    assert len(facts["samples"]) == 3 and facts["started"] <= facts["finished"]
    assert {"identity", "files", "versions", "device", "options", "rows"} <= facts.keys()
    assert str(tmp_path) not in json.dumps(facts)

    def again(self, vlm, batch, seed):
        raise AssertionError("measured again")

    monkeypatch.setattr(Averaging, "rows", again)
    asked.run(**folders)
    with pytest.raises(ValueError, match="same settings"):
        MeasureRun(MODEL, "averaging", questions=2, seed=2).run(**folders)


def test_every_question_is_taken_where_that_is_asked_for(repository, tmp_path, monkeypatch):
    monkeypatch.setattr(Averaging, "questions", 1)
    for every, count in ((False, 1), (True, 2)):
        folders = {"runs": tmp_path / f"runs{count}", "output": tmp_path / f"out{count}"}
        [path] = MeasureRun(MODEL, "averaging", questions=2, every=every).run(**folders)
        facts = json.loads(path.with_suffix(".json").read_text())
        assert len(facts["samples"]) == count
        assert facts["command"].count(" --every ") == every and "False" not in facts["command"]


def test_a_chapter_reads_what_is_stored_and_measures_the_rest(repository, tmp_path, monkeypatch):
    monkeypatch.setattr(page, "display", lambda content, raw: None)
    output = repository / "results" / "measured"
    MeasureRun(MODEL, "averaging", questions=3).run(runs=tmp_path, output=output)
    values = {"tier": "book", "seed": 0, "models": f"{MODEL},small-qwen2.5-vl", "source": "own"}
    run = report.start("06_layerwise_curves", values | {"output": str(tmp_path / "out")})
    samples = run.drawn("pope", "own", 3, smoke=2)
    assert run.evidence.questions == 3
    [found] = run.measured((Averaging(), samples), live=2)
    origins = found.made_by().set_index("model")["numbers"].to_dict()
    assert origins == {MODEL: "stored", "small-qwen2.5-vl": "measured now"}
    assert found.table["model"].unique().tolist() == run.models
    assert "numbers of 2 questions, measured again, " in found.agreement
    assert run.evidence.by_subject(dict.fromkeys(run.models)).keys() == {"small"}
    fewer = run.fewer(samples, 2, smoke=1)
    assert [len(own) for own in fewer.values()] == [2, 2]
    [part] = run.measured((Averaging(), fewer), live=0)
    assert part.agreement == NOTHING_STORED and MODEL in part.origins


def test_where_questions_come_from():
    assert own_source(MODEL, None) == "digits" and own_source("a/b", "hub") == "hub"
    with pytest.raises(ValueError, match="source: expected the name of one for 'a/b'"):
        own_source("a/b", None)
    few = load_benchmark("pope").draw(3, seed=0)
    assert len(draw_at_most(few, 2, seed=0)) == 2 and draw_at_most(few, 9, seed=0) is few


def test_agreement_is_told_in_words(averages):
    now = averages[averages["layer"] < 2]
    assert agreement(now, averages) == "24 numbers of 3 questions, measured again, are equal"
    off = averages.assign(mean_shift=averages["mean_shift"] + 1e-6)
    assert "differ by at most 1e-06" in agreement(now, off)
    with pytest.raises(ValueError, match="results: expected every row"):
        agreement(averages, now)
