"""Benchmarks by name: a reader's own goes every way that the library's go."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from lost_in_attention.__main__ import app
from lost_in_attention.benchmarks import (
    BENCHMARKS,
    Benchmark,
    Judgement,
    Sample,
    Samples,
    chance,
    load_benchmark,
    register,
)
from lost_in_attention.evaluation import GridRun, answer_under, presets
from lost_in_attention.evaluation.questions import evaluate
from lost_in_attention.models import load
from lost_in_attention.publishing.evidence import Evidence

SEVEN = ["pope", "realworldqa", "3dsrbench", "mmmu", "vmcbench", "hallusionbench", "mathvista"]
COLOURS = {"red": (200, 30, 30), "blue": (40, 70, 200)}


def sample(row: dict, index: int) -> Sample:
    image = Image.new("RGB", (96, 96), COLOURS[row["colour"]])
    text = "Which colour is this?"
    return Sample(
        str(index), (image,), text, text, row["colour"], "all", row["colour"], {}, {"lamp": "on"}
    )


def load_lines(source, split) -> Samples:
    """Rows as JSON lines."""
    if split not in (None, "test"):
        raise ValueError(f"split: expected 'test', got {split!r}")
    rows = [json.loads(line) for line in (source / "rows.jsonl").read_text().splitlines()]
    return Samples(rows, sample, range(len(rows)))


def judge(reply: str, asked: Sample) -> Judgement:
    said = next((name for name in COLOURS if name in reply.lower()), None)
    return Judgement(said, said == asked.answer)


def asked(row) -> str:
    return "Which colour is this?"


MINE = Benchmark("mine", load_lines, asked, {"strict": judge})


@pytest.fixture
def mine(tmp_path):
    """The benchmark, registered while the test runs, and a folder with its rows in a folder."""
    folder = tmp_path / "sets"
    (folder / "mine").mkdir(parents=True)
    lines = [json.dumps({"colour": name}) for name in ("red", "blue", "blue")]
    (folder / "mine" / "rows.jsonl").write_text("\n".join(lines))
    register(MINE)
    yield folder
    del BENCHMARKS["mine"]


@pytest.fixture(scope="module")
def vlm():
    return load("small-llava")


def test_the_librarys_seven_stand_in_the_papers_order():
    assert list(BENCHMARKS) == SEVEN
    assert all(each.name == name for name, each in BENCHMARKS.items())
    assert all(each.embedded and each.hub for each in BENCHMARKS.values())


def test_its_samples_are_drawn_and_blanked_as_others(mine):
    samples = load_benchmark("mine", mine)
    assert [each.answer for each in samples] == ["red", "blue", "blue"]
    assert len(samples.draw(2, seed=0)) == 2
    assert samples.blanked()[0].image.getpixel((0, 0)) == (128, 128, 128)
    assert [each.id for each in load_benchmark("mine", mine / "mine", "test")] == ["0", "1", "2"]
    assert chance(samples) == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="split: expected 'test', got 'dev'"):
        load_benchmark("mine", mine, "dev")


@pytest.mark.parametrize(("source", "what"), [("digits", "embedded set"), ("hub", "repository")])
def test_what_it_does_not_have_is_refused(mine, source, what):
    with pytest.raises(ValueError, match=f"source: expected another .* mine, .* no {what}, got"):
        load_benchmark("mine", source)
    with pytest.raises(ValueError, match=f"source: expected another .* mine, .* no {what}, got"):
        GridRun("small-llava", source, benchmarks="mine").samples()


def test_it_is_asked_judged_and_scored(vlm, mine):
    table = evaluate(vlm, load_benchmark("mine", mine), benchmark="mine")
    assert set(table["benchmark"]) == {"mine"} and set(table["lamp"]) == {"on"}
    assert (table["correct"] == (table["parsed"] == table["answer"])).all()
    assert MINE.score(table)["accuracy"] == table["correct"].mean()
    assert MINE.judge("It is RED", load_benchmark("mine", mine)[0]) == ("red", True)
    with pytest.raises(ValueError, match=r"judging: expected one of \['strict'\] for mine"):
        evaluate(vlm, load_benchmark("mine", mine), benchmark="mine", judging="official")


def test_it_is_asked_under_plans(vlm, mine):
    variants = presets("llava", depth=8, names=["paper"])[:3]
    table = answer_under(vlm, load_benchmark("mine", mine), benchmark="mine", variants=variants)
    assert len(table) == 3 * len(variants)


def test_a_sweep_and_the_command_take_it(mine, tmp_path):
    drawn = GridRun("small-llava", str(mine), benchmarks="mine", questions=2).samples()
    assert {name: len(samples) for name, samples in drawn.items()} == {"mine": 2}
    options = ["--model", "small-llava", "--source", str(mine), "--output", str(tmp_path / "r")]
    result = CliRunner().invoke(app, ["evaluate", "--benchmark", "mine", *options])
    assert result.exit_code == 0, result.output
    assert "small-llava on mine, 3 questions" in result.output


def test_all_stands_for_what_the_source_has(mine):
    assert list(GridRun("small-llava", "digits", questions=1).samples()) == SEVEN


def test_questions_without_a_repository_are_no_evidence(mine):
    evidence = Evidence()
    evidence.asked("mine", load_benchmark("mine", mine))
    assert evidence.benchmarks["mine"].repository is None


def test_ones_own_may_be_registered_again_and_the_librarys_not(mine):
    register(MINE)
    with pytest.raises(ValueError, match="name: expected another .* got 'pope'"):
        register(Benchmark("pope", load_lines, asked, {"strict": judge}))
    assert BENCHMARKS["pope"].embedded


def test_an_embedded_one_of_ones_own_may_be_registered_again_too(mine):
    own = replace(MINE, embedded=True)
    register(own)
    register(own)
    assert BENCHMARKS["mine"] is own


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", ["", "a,b", "a/b", "..", "a b", None, 3, "all", "both"])
def test_a_name_that_options_and_files_cannot_hold_is_refused(name):
    with pytest.raises(ValueError, match="name: expected letters, digits, .*, got "):
        register(replace(MINE, name=name))
    assert list(BENCHMARKS) == SEVEN


@pytest.mark.usefixtures("unchecked")
def test_what_is_no_benchmark_is_refused():
    with pytest.raises(ValueError, match="benchmark: expected a Benchmark, got 'pope'"):
        register("pope")


@pytest.mark.parametrize("source", ["", " "])
def test_no_source_is_not_the_current_folder(source):
    with pytest.raises(ValueError, match="source: expected a name, a folder or a hub id, got '"):
        load_benchmark("pope", source)
    with pytest.raises(ValueError, match="source: expected a name, a folder or a hub id, got '"):
        GridRun("small-llava", source, benchmarks="pope").samples()


def test_a_set_named_by_a_path_is_the_one_named_by_its_text():
    by_path, by_text = (load_benchmark("pope", kind("pictures")) for kind in (Path, str))
    assert [by_path[0].id, len(by_path)] == [by_text[0].id, len(by_text)]
    with pytest.raises(ValueError, match="source: expected another .* mine, .* embedded set"):
        MINE.samples(Path("pictures"))


def test_rules_without_a_strict_one_are_refused():
    with pytest.raises(ValueError, match=r"judges: expected one called 'strict', got \['mild'\]"):
        Benchmark("mine", load_lines, asked, {"mild": judge})
