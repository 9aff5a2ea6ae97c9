"""Exercises: every solution passes its check, every stub and every empty answer fails it."""

import re
import subprocess
import sys
from dataclasses import dataclass
from itertools import pairwise

import jupytext
import nbformat
import pytest
import torch

from conftest import NOTEBOOKS, ROOT
from lost_in_attention.teaching import CheckFailed, require_close, require_equal
from lost_in_attention.teaching.asked import without_solutions
from lost_in_attention.teaching.student import (
    CHECK,
    SOLUTION,
    has_tag,
    stub_of,
    student_version,
    write_student_versions,
)

THEORY = ("02_effective_rank", "03_projectors", "04_rid", "05_token_mixing")
# The first chapter only shows the models and questions that the others use.
WITH_EXERCISES = [path for path in NOTEBOOKS if path.stem != "00_models_and_data"]


@dataclass(frozen=True)
class Exercise:
    """A solution cell and the check cell after it."""

    name: str
    solution: str
    check: str


def exercises() -> list[Exercise]:
    found = []
    for source in NOTEBOOKS:
        cells = jupytext.read(source).cells
        for cell, after in pairwise(cells):
            if has_tag(cell, SOLUTION):
                assert has_tag(after, CHECK), f"{source.stem}: a solution without a check"
                name = re.search(r"check_(\w+)\(", after.source)[1]
                found.append(Exercise(f"{source.stem}-{name}", cell.source, after.source))
    return found


EXERCISES = exercises()
each_exercise = pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)


def run(exercise: Exercise, answer: str) -> None:
    """Execute an answer and the exercise's check, as a learner would, in a notebook of its own."""
    namespace: dict = {}
    for code in (answer, exercise.check):
        exec(code, namespace)


@each_exercise
def test_the_solution_passes_its_check(exercise, capsys):
    run(exercise, exercise.solution)
    assert "every check passed" in capsys.readouterr().out


@each_exercise
def test_the_stub_fails_its_check(exercise):
    with pytest.raises(NotImplementedError):
        run(exercise, stub_of(exercise.solution))


@each_exercise
def test_an_answer_of_none_is_refused_in_plain_words(exercise):
    name = exercise.name.split("-")[1]
    with pytest.raises(CheckFailed, match=f"^{name} returned None: does every way through it"):
        run(exercise, f"def {name}(*given):\n    given")


@each_exercise
@pytest.mark.parametrize(
    "answer",
    ["0.0", "1.0", "first", "getattr(first, 'mT', first)", "torch.zeros(3)", "torch.eye(3)"],
)
def test_answers_without_thought_fail(exercise, answer):
    name = exercise.name.split("-")[1]
    thoughtless = f"import torch\ndef {name}(first=0.0, *rest, **named):\n    return {answer}\n"
    # A wrong shape may fail in the check's arithmetic before a property does.
    with pytest.raises((CheckFailed, RuntimeError, TypeError, ValueError, AttributeError)):
        run(exercise, thoughtless)


def stated(source) -> dict[str, str]:
    """The exercises of a chapter, by label, and what each asks."""
    text = "\n".join(c.source for c in jupytext.read(source).cells if c.cell_type == "markdown")
    found = re.findall(r"^`{3,}\{exercise\}.*?\n:label: (\S+)\n(.*?)^`{3,}$", text, re.M | re.S)
    labels = [label for label, _ in found]
    assert len(set(labels)) == len(labels)
    assert re.findall(r"^`{3,}\{solution\} (\S+)\n:class: dropdown", text, re.M) == labels
    return dict(found)


@pytest.mark.parametrize("source", NOTEBOOKS, ids=lambda path: path.stem)
def test_exercises_say_how_hard_and_how_long_and_fold_their_hints(source):
    for label, body in stated(source).items():
        assert re.search(r"^\*(Warm-up|Medium|Hard|Research), \d+ minutes\.\*", body, re.M), label
        assert len(re.findall(r"^:::\{dropdown\} Hint\n.+?^:::$", body, re.M | re.S)) == 1, label


@pytest.mark.parametrize("source", WITH_EXERCISES, ids=lambda path: path.stem)
def test_every_chapter_has_exercises_of_each_sort(source):
    asked = stated(source)
    checked = [e for e in EXERCISES if e.name.startswith(source.stem)]
    assert len(asked) >= 4
    assert any("*Warm-up" in body for body in asked.values())
    assert any("*Research" in body for body in asked.values())
    if source.stem in THEORY:
        assert len(checked) == len(asked)
    else:
        assert len(checked) >= (1 if source.stem == "01_residual_stream" else 2)
        assert any("Rubric (" in body for body in asked.values())


def test_the_parts_of_a_rubric_add_up():
    texts = [" ".join(body.split()) for source in NOTEBOOKS for body in stated(source).values()]
    rubrics = [
        rubric for text in texts for rubric in re.findall(r"Rubric \((\d+) points\): (.*)", text)
    ]
    assert len(rubrics) >= 13
    for points, parts in rubrics:
        each = [int(n) for n in re.findall(r"\((\d+)\)", parts)]
        assert sum(each) == int(points) and len(each) >= 3, parts
        assert "before" in parts and re.search("interval|error|spread|binomial", parts), parts


def chapter(*cells) -> nbformat.NotebookNode:
    return nbformat.v4.new_notebook(cells=list(cells))


def code(source: str, *tags: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_code_cell(source, metadata={"tags": list(tags)})


def test_the_student_version_keeps_tasks_and_checks_and_nothing_of_the_solution():
    words = "Task.\n\n```{solution} ex-a\n:class: dropdown\n\nIt is 42.\n```\n\nMore."
    solution = 'import math\n\ndef _aid():\n    return 42\n\ndef f(x):\n    """Doc."""\n'
    solution += "    return _aid()"
    given = chapter(nbformat.v4.new_markdown_cell(words), code(solution, SOLUTION), code("f(1)"))
    given.cells[2].outputs = [nbformat.v4.new_output("stream", text="42")]
    student = student_version(given)
    text = nbformat.writes(student)
    assert "42" not in text and "_aid" not in text and "{solution}" not in text
    assert student.cells[0].source == "Task.\n\nMore."
    stub = 'import math\n\n\ndef f(x):\n    """Doc."""\n    raise NotImplementedError'
    assert student.cells[1].source == stub
    assert student.cells[2].source == "f(1)"
    assert "42" in given.cells[1].source and given.cells[2].outputs, "the chapter itself changed"


def test_exercises_are_plain_markdown_outside_the_book():
    asked = "```{exercise} Count\n:label: ex-count\n\n*Hard, 5 minutes.* See {term}`rank`.\n\n"
    hint = ":::{dropdown} Hint\nUse $\\sigma$.\n:::\n```\n\n"
    solution = "```{solution} ex-count\nNo.\n```\n"
    plain = "### Count\n\n*Hard, 5 minutes.* See rank.\n\n"
    plain += "<details><summary>Hint</summary>\n\nUse $\\sigma$.\n\n</details>"
    assert without_solutions(f"Before.\n\n{asked}{hint}{solution}") == f"Before.\n\n{plain}"


@pytest.mark.parametrize(
    ("solution", "message"),
    [
        ("answer = 42", "expected imports and functions only, got 'answer = 42'"),
        ("def f(x):\n    return 42", "expected a docstring in f, got none"),
    ],
)
def test_a_solution_that_could_give_itself_away_is_refused(solution, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        stub_of(solution)
    source = tmp_path / "09_bad.py"
    source.write_text(f'# %% tags=["{SOLUTION}"]\n{solution}\n')
    with pytest.raises(ValueError, match=f"09_bad.py: .*{message}"):
        write_student_versions([source], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_students_work_is_never_written_over(tmp_path):
    sources = []
    for name in ("01_first", "02_second"):
        sources.append(tmp_path / f"{name}.py")
        sources[-1].write_text('# %% tags=["solution"]\ndef f():\n    """Doc."""\n    return 1\n')
    output = tmp_path / "out"
    written = write_student_versions(sources, output)
    assert write_student_versions(sources, output) == written
    work = written[2]
    work.write_text(work.read_text().replace("raise NotImplementedError", "return 42"))
    before = {path: path.read_bytes() for path in written}
    written[0].unlink()
    with pytest.raises(FileExistsError, match=f"output: expected no exercises .*{work.name}; move"):
        write_student_versions(sources, output)
    assert {path: path.read_bytes() for path in written[1:]} == dict([*before.items()][1:])
    assert not written[0].exists(), "nothing is written beside a refusal"
    with pytest.raises(ValueError, match="output: expected a place that can be written"):
        write_student_versions(sources, work / "out")


def test_the_command_writes_every_chapter_without_solutions(tmp_path):
    command = [sys.executable, "-m", "lost_in_attention.teaching", *map(str, NOTEBOOKS)]
    subprocess.run([*command, "--output", str(tmp_path)], check=True, cwd=ROOT)
    for source in NOTEBOOKS:
        pair = [jupytext.read(tmp_path / f"{source.stem}{end}") for end in (".py", ".ipynb")]
        assert [c.source for c in pair[0].cells] == [c.source for c in pair[1].cells]
        chapter = [e for e in EXERCISES if e.name.startswith(source.stem)]
        cells = [c.source for c in pair[0].cells if c.cell_type == "code"]
        assert not any("{solution}" in c.source for c in pair[0].cells)
        for exercise in chapter:
            assert exercise.solution not in cells and exercise.check in cells
            assert stub_of(exercise.solution) in cells
    with pytest.raises(FileNotFoundError, match="sources: expected .*missing.py to be a file"):
        write_student_versions([tmp_path / "missing.py"], tmp_path)


def test_a_number_that_is_none_or_nan_is_not_close():
    for got in (None, float("nan"), "x", torch.zeros(2)):
        with pytest.raises(CheckFailed, match="norm: expected"):
            require_close("norm", got, 1.0)
    require_close("norm", 1.0, 1.0)


def test_messages_show_as_many_digits_as_tell_two_numbers_apart():
    with pytest.raises(CheckFailed, match=r"^norm: expected 2.8284271, got 2.8284272$"):
        require_close("norm", 8**0.5 + 3e-8, 8**0.5)
    with pytest.raises(CheckFailed, match=r"^rows: at \[1\] expected 1, got nan$"):
        require_equal("rows", [1.0, float("nan")], torch.ones(2, dtype=torch.float64))
    for got in (None, "x", torch.ones(3), [torch.ones(2), torch.ones(2)]):
        with pytest.raises(CheckFailed, match="^rows: expected (numbers of )?shape"):
            require_equal("rows", got, torch.ones(2, dtype=torch.float64))


def test_the_page_for_teachers_names_exercises_that_are_there_and_counts_them_right():
    page = (ROOT / "book" / "teachers.md").read_text()
    by_chapter = {source.stem: stated(source) for source in NOTEBOOKS}
    labels = {label for asked in by_chapter.values() for label in asked}
    assert set(re.findall(r"\{ref\}`([^`]+)`", page)) <= labels
    rows = re.findall(
        r"^\| \{doc\}`notebooks/(\w+)` \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", page, re.M
    )
    counted = []
    for name, asked in by_chapter.items():
        minutes = sum(int(re.search(r", (\d+) minutes", body)[1]) for body in asked.values())
        checked = [e for e in EXERCISES if e.name.startswith(name)]
        rubrics = [body for body in asked.values() if "Rubric (" in body]
        counted.append((name, *map(str, (len(asked), len(checked), len(rubrics), minutes))))
    assert rows == counted
