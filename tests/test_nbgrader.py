"""Assignments for nbgrader: metadata of its schema 3, every check graded, no solution in them."""

import re
import subprocess
import sys

import jupytext
import nbformat
import pytest

from conftest import NOTEBOOKS, ROOT
from lost_in_attention.teaching.nbgrader import assignment, write_assignments
from lost_in_attention.teaching.student import CHECK, SOLUTION, has_tag

each_chapter = pytest.mark.parametrize("source", NOTEBOOKS, ids=lambda path: path.stem)
KINDS = {"grade": bool, "solution": bool, "locked": bool, "task": bool}
KINDS |= {"grade_id": str, "points": int, "schema_version": int}


def wrong_with(cell) -> list[str]:
    """What nbgrader would refuse in a cell: the rules of its schema 3 and of its validator."""
    known = cell.metadata.get("nbgrader")
    if known is None:
        return []
    graded = known.get("grade") or known.get("task")
    rules = {
        "keys": known.keys() <= KINDS.keys() and KINDS.keys() - known.keys() <= {"points"},
        "types": all(type(value) is KINDS[key] for key, value in known.items() if key in KINDS),
        "version": known.get("schema_version") == 3,
        "id": re.fullmatch(r"[a-zA-Z0-9_\-]+", known.get("grade_id", "")),
        "points": ("points" in known) == bool(graded) and known.get("points", 1) > 0,
        "a task is text": not known.get("task") or cell.cell_type == "markdown",
        "text is an answer and graded, or neither": cell.cell_type != "markdown"
        or known.get("grade") == known.get("solution"),
    }
    return [rule for rule, kept in rules.items() if not kept]


def ids(notebook) -> list[str]:
    cells = [cell for cell in notebook.cells if "nbgrader" in cell.metadata]
    return [cell.metadata["nbgrader"]["grade_id"] for cell in cells]


@each_chapter
def test_metadata_are_valid_and_ids_are_unique(source):
    made = assignment(jupytext.read(source))
    nbformat.validate(made)
    assert not {cell.source: wrong for cell in made.cells if (wrong := wrong_with(cell))}
    assert len(set(ids(made))) == len(ids(made)) > 0


@pytest.mark.parametrize(
    ("cell_type", "change", "rule"),
    [
        ("code", {"schema_version": 2}, "version"),
        ("code", {"grade_id": "ex a"}, "id"),
        ("code", {"grade_id": ""}, "id"),
        ("code", {"grade": "yes"}, "types"),
        ("code", {"grade": True}, "points"),
        ("code", {"points": 3}, "points"),
        ("code", {"deletable": False}, "keys"),
        ("code", {"task": True, "points": 3}, "a task is text"),
        ("markdown", {"solution": True}, "text is an answer and graded, or neither"),
    ],
)
def test_the_rules_can_be_broken(cell_type, change, rule):
    known = dict.fromkeys(("grade", "solution", "locked", "task"), False)
    known |= {"grade_id": "a", "schema_version": 3}
    cell = nbformat.v4.new_code_cell if cell_type == "code" else nbformat.v4.new_markdown_cell
    assert wrong_with(cell("", metadata={"nbgrader": known})) == []
    assert rule in wrong_with(cell("", metadata={"nbgrader": known | change}))


@each_chapter
def test_every_check_is_a_graded_cell_behind_the_answer_that_it_grades(source):
    chapter, made = jupytext.read(source), assignment(jupytext.read(source))
    checks = [cell.source for cell in chapter.cells if has_tag(cell, CHECK)]
    graded = []
    for answer, cell in zip(made.cells, made.cells[1:], strict=False):
        known = cell.metadata["nbgrader"]
        if cell.cell_type == "code" and known["grade"]:
            graded.append(cell.source)
            assert known["locked"] and not known["solution"] and known["points"] > 0
            before = answer.metadata["nbgrader"]
            assert before["solution"] and not before["locked"] and not before["grade"]
            assert before["grade_id"].removesuffix("-answer") == known["grade_id"][: -len("-check")]
    assert graded == checks


@each_chapter
def test_every_exercise_is_worth_points_once(source):
    chapter, made = jupytext.read(source), assignment(jupytext.read(source))
    text = "\n".join(c.source for c in chapter.cells if c.cell_type == "markdown")
    labels = re.findall(r"\{exercise\}.*\n:label: (\S+)", text)
    worth = [c.metadata["nbgrader"] for c in made.cells[1:] if "points" in c.metadata["nbgrader"]]
    found = [re.sub("-(answer|check)$", "", known["grade_id"]) for known in worth]
    assert found == labels
    # What is research has a check or a rubric: no answer in words can earn it.
    answers = zip(made.cells, made.cells[1:], strict=False)
    by_hand = [asked.source for asked, cell in answers if cell.source == "Your answer:"]
    assert not [text for text in by_hand if "*Research, " in text]


@each_chapter
def test_no_solution_is_in_it(source):
    chapter = jupytext.read(source)
    text = nbformat.writes(assignment(chapter))
    assert "{solution}" not in text
    for cell in chapter.cells:
        for words in re.findall(r"\{solution\} \S+\n:class: dropdown\n+(.+)$", cell.source, re.M):
            assert words not in text
        if has_tag(cell, SOLUTION):
            returned = re.findall(r"^ +return .{12,}$", cell.source, re.M)
            assert not [line for line in returned if line.strip() in text]


def test_an_assignment_that_was_filled_in_runs_from_its_first_cell_to_its_last(capsys):
    [source] = [path for path in NOTEBOOKS if path.stem == "16_key_region_ratio"]
    solutions = [c.source for c in jupytext.read(source).cells if has_tag(c, SOLUTION)]
    code = [c for c in assignment(jupytext.read(source)).cells if c.cell_type == "code"]
    for cell in code:
        if cell.metadata["nbgrader"]["solution"]:
            assert "    ### BEGIN SOLUTION\n    raise NotImplementedError\n" in cell.source
            cell.source = solutions.pop(0)
    namespace: dict = {}
    for cell in code:
        exec(cell.source, namespace)
    assert capsys.readouterr().out.count("every check passed") == len(code) / 2 >= 2


def test_the_command_writes_a_folder_for_each_assignment_and_writes_over_no_work(tmp_path):
    sources = [path for path in NOTEBOOKS if path.stem.startswith("0")]
    command = [sys.executable, "-m", "lost_in_attention.teaching", *map(str, sources)]
    command += ["--nbgrader", "--output", str(tmp_path)]
    subprocess.run(command, check=True, cwd=ROOT)
    for source in sources:
        written = tmp_path / "source" / source.stem / f"{source.stem}.ipynb"
        made = assignment(jupytext.read(source))
        assert nbformat.read(written, as_version=4) == made
    written.write_text(written.read_text().replace("raise NotImplementedError", "return 42"))
    with pytest.raises(FileExistsError, match="output: expected no exercises that were worked on"):
        write_assignments(sources, tmp_path)
    assert "return 42" in written.read_text()


def test_a_check_without_an_exercise_is_refused(tmp_path):
    source = tmp_path / "20_bad.py"
    source.write_text('# %% tags=["exercise-check"]\ncheck_f(f)\n')
    with pytest.raises(ValueError, match="20_bad.py: cells: expected an exercise and a solution"):
        write_assignments([source], tmp_path / "out")
    source.write_text("# %% [markdown]\n# ```{exercise} A\n# :label: ex-a\n#\n# Do it.\n# ```\n")
    with pytest.raises(ValueError, match="ex-a: expected a level and minutes, got none"):
        write_assignments([source], tmp_path / "out")
    assert not (tmp_path / "out").exists()
