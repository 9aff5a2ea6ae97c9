"""Exercises: every solution passes its check, every stub and every empty answer fails it."""

import contextlib
import io
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
from lost_in_attention.teaching import CheckFailed, effective_rank, projectors, require_close
from lost_in_attention.teaching.student import (
    CHECK,
    SOLUTION,
    has_tag,
    stub_of,
    student_version,
    write_student_versions,
)

THEORY = ("02_effective_rank", "03_projectors", "04_rid", "05_token_mixing")


@dataclass(frozen=True)
class Exercise:
    """A solution cell, the check cell after it, and the chapter's first code cell."""

    name: str
    imports: str
    solution: str
    check: str


def exercises() -> list[Exercise]:
    found = []
    for source in NOTEBOOKS:
        cells = jupytext.read(source).cells
        imports = next(cell.source for cell in cells if cell.cell_type == "code")
        for cell, after in pairwise(cells):
            if has_tag(cell, SOLUTION):
                assert has_tag(after, CHECK), f"{source.stem}: a solution without a check"
                name = re.search(r"check_(\w+)\(", after.source)[1]
                found.append(Exercise(f"{source.stem}-{name}", imports, cell.source, after.source))
    return found


EXERCISES = exercises()
each_exercise = pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)


def run(exercise: Exercise, answer: str) -> None:
    """Execute the chapter's imports, an answer and the exercise's check, as a learner would."""
    namespace: dict = {}
    for code in (exercise.imports, answer, exercise.check):
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


def gram_projector(x, width):
    """Jumps as the projector does."""
    values, vectors = torch.linalg.eigh(x.T @ x)
    kept = vectors[:, values > width**2]
    return kept @ kept.T


# What a learner may well write: right on easy input only.
TEMPTING = {
    "root of a difference": (
        projectors.check_residual_norm,
        lambda basis, y: (y.norm() ** 2 - (basis.T @ y).norm() ** 2).clamp(min=0).sqrt(),
    ),
    "arc cosine": (
        projectors.check_principal_angles,
        lambda a, b: (
            torch.linalg.svdvals(torch.linalg.qr(a).Q.T @ torch.linalg.qr(b).Q).clamp(max=1).acos()
        ),
    ),
    "basis taken for orthonormal": (projectors.check_projector, lambda basis: basis @ basis.T),
    "hard cut-off": (projectors.check_soft_projector, gram_projector),
    "squared error": (
        effective_rank.check_rank_k_error,
        lambda x, k: float((torch.linalg.svdvals(x)[k:].norm() / x.norm()) ** 2),
    ),
    "flat spectrum": (
        effective_rank.check_misleading_spectrum,
        lambda target, error: torch.ones(int(target) + 1),
    ),
    "some matrix of the right shape": (
        effective_rank.check_effective_rank_gradient,
        lambda x: (
            torch.linalg.svd(x, full_matrices=False).U @ torch.linalg.svd(x)[2][: min(x.shape)]
        ),
    ),
}


@pytest.mark.parametrize("name", TEMPTING)
def test_tempting_answers_fail(name):
    check, answer = TEMPTING[name]
    with pytest.raises(CheckFailed):
        check(answer)


@pytest.mark.parametrize("source", NOTEBOOKS, ids=lambda path: path.stem)
def test_exercises_say_how_hard_and_how_long_and_have_a_solution(source):
    text = "\n".join(c.source for c in jupytext.read(source).cells if c.cell_type == "markdown")
    stated = re.findall(r"^`{3,}\{exercise\}.*?\n:label: (\S+)\n(.*?)^`{3,}$", text, re.M | re.S)
    labels = [label for label, _ in stated]
    assert len(set(labels)) == len(labels)
    solved = re.findall(r"^`{3,}\{solution\} (\S+)\n:class: dropdown", text, re.M)
    assert solved == labels
    for label, body in stated:
        assert re.search(r"\*[A-Z][\w-]+, \d+ minutes\.\*", body), label
    if source.stem in THEORY:
        assert len(stated) >= 4
        assert all("Hint:" in body for _, body in stated)
        assert len([e for e in EXERCISES if e.name.startswith(source.stem)]) == len(stated)
        assert "*Warm-up" in text and "*Research" in text


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
    with contextlib.redirect_stdout(io.StringIO()):
        require_close("norm", 1.0, 1.0)
