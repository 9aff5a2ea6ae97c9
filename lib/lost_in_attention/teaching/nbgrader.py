"""Exercises for nbgrader: of each chapter a notebook with its exercises alone, ready to grade.

Checks are autograded test cells.  What has no check is graded by hand: a question by an answer
cell, a project with a rubric as a task.  No solution is in it, neither in words nor as code; what
a student writes stands between nbgrader's marks, so that `nbgrader generate_assignment` keeps
signatures and docstrings.  The metadata are those of nbgrader's schema 3.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from lost_in_attention.teaching.asked import Asked, exercises_in
from lost_in_attention.teaching.student import CHECK, SOLUTION, has_tag, stub_of
from lost_in_attention.teaching.writing import made_of, write_new

SCHEMA_VERSION = 3
# Points of an exercise without a rubric, by its level.
POINTS = {"Warm-up": 1, "Medium": 2, "Hard": 3, "Research": 5}
_BODY = "    raise NotImplementedError"
_MARKED = f"    ### BEGIN SOLUTION\n{_BODY}\n    ### END SOLUTION"
_KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


@dataclass
class _Exercise:
    """What is asked; where it has a check, also that and the stub that it is run on."""

    asked: Asked
    stub: str | None = None
    check: str | None = None


def assignment(chapter: NotebookNode) -> NotebookNode:
    """The exercises of a chapter as an assignment.

    Raises ValueError for a solution that breaks the conventions (`student.stub_of`), a check
    without an exercise, or an exercise that says no level.
    """
    title = chapter.cells[0].source.splitlines()[0]
    intro = f"{title}\n\nExercises. The chapter itself is in the book."
    cells = [new_markdown_cell(intro)]
    for exercise in _exercises(chapter):
        cells += _cells(exercise)
    for index, cell in enumerate(cells):
        # nbformat draws ids by chance; these make equal chapters equal files.
        cell.id = f"cell-{index}"
    return new_notebook(cells=cells, metadata={"kernelspec": _KERNEL})


def write_assignments(sources: list[Path], output: Path) -> list[Path]:
    """Write a notebook for each py:percent source, in a folder of its own; the paths.

    The folders lie in `output`/source, where nbgrader looks for them.
    Raises what `made_of` and `write_new` do, before anything is written.
    """
    made = made_of(sources, assignment)
    texts = {
        output / "source" / name / f"{name}.ipynb": nbformat.writes(notebook) + "\n"
        for name, notebook in made.items()
    }
    return write_new(texts, output)


def _exercises(chapter: NotebookNode) -> list[_Exercise]:
    found: list[_Exercise] = []
    for cell in chapter.cells:
        if cell.cell_type == "markdown":
            found += [_Exercise(asked) for asked in exercises_in(cell.source)]
        elif has_tag(cell, SOLUTION) and found:
            found[-1].stub = stub_of(cell.source)
        elif has_tag(cell, CHECK):
            if not found or found[-1].stub is None:
                raise ValueError("cells: expected an exercise and a solution before their check")
            found[-1].check = cell.source
    return found


def _cells(exercise: _Exercise) -> Iterator[NotebookNode]:
    """What is asked, where the answer goes, and what grades it."""
    asked, label = exercise.asked, exercise.asked.label
    points = asked.rubric_points or POINTS[asked.level]
    if exercise.stub is not None and exercise.check is not None:
        yield _graded(new_markdown_cell(asked.text), label, locked=True)
        stub = new_code_cell(exercise.stub.replace(_BODY, _MARKED))
        yield _graded(stub, f"{label}-answer", solution=True)
        check = new_code_cell(exercise.check)
        yield _graded(check, f"{label}-check", grade=True, locked=True, points=points)
    elif asked.rubric_points is not None:
        cell = new_markdown_cell(asked.text)
        yield _graded(cell, label, locked=True, task=True, points=points)
    else:
        yield _graded(new_markdown_cell(asked.text), label, locked=True)
        answer = new_markdown_cell("Your answer:")
        yield _graded(answer, f"{label}-answer", grade=True, solution=True, points=points)


def _graded(
    cell: NotebookNode,
    grade_id: str,
    *,
    grade: bool = False,
    solution: bool = False,
    locked: bool = False,
    task: bool = False,
    points: int | None = None,
) -> NotebookNode:
    """The cell with nbgrader's metadata; points are there only where something is graded."""
    known = {"grade": grade, "grade_id": grade_id, "locked": locked, "solution": solution}
    known |= {"schema_version": SCHEMA_VERSION, "task": task}
    cell.metadata["nbgrader"] = known if points is None else known | {"points": points}
    return cell
