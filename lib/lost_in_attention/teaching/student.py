"""The student version of a chapter: exercises, stubs and checks; solutions left out.

The conventions that it relies on are those of `lost_in_attention.teaching`.
"""

import ast
from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode

from lost_in_attention.teaching.asked import without_solutions
from lost_in_attention.teaching.writing import made_of, write_new

SOLUTION, CHECK = "solution", "exercise-check"


def has_tag(cell: NotebookNode, tag: str) -> bool:
    """Whether a cell carries the tag."""
    return tag in cell.metadata.get("tags", [])


def stub_of(solution: str) -> str:
    """A solution cell with every public function cut down to signature and docstring.

    Imports stay, private functions go, and each function raises NotImplementedError.

    Raises:
        ValueError: the cell holds something else, or a public function without docstring.
    """
    kept = []
    for statement in ast.parse(solution).body:
        if isinstance(statement, ast.FunctionDef):
            if not statement.name.startswith("_"):
                kept += ["", "", _stub(solution, statement)]
        elif isinstance(statement, ast.Import | ast.ImportFrom):
            kept.append(ast.get_source_segment(solution, statement))
        else:
            line = ast.unparse(statement).splitlines()[0]
            raise ValueError(f"solution: expected imports and functions only, got {line!r}")
    return "\n".join(kept).strip()


def student_version(chapter: NotebookNode) -> NotebookNode:
    """A copy of a chapter without outputs, the words of its solutions, and their code.

    Its exercises are in plain markdown.
    """
    student = nbformat.from_dict(chapter)
    for cell in student.cells:
        if cell.cell_type == "markdown":
            cell.source = without_solutions(cell.source)
        elif cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
            if has_tag(cell, SOLUTION):
                cell.source = stub_of(cell.source)
                cell.metadata = {}
    student.cells = [cell for cell in student.cells if cell.source]
    for index, cell in enumerate(student.cells):
        # jupytext draws ids by chance; these make equal chapters equal files.
        cell.id = f"cell-{index}"
    return student


def write_student_versions(sources: list[Path], output: Path) -> list[Path]:
    """Write <output>/<chapter>.py and .ipynb for each py:percent source; the paths written.

    Raises what `made_of` and `write_new` do, before anything is written.
    """
    texts = {
        output / f"{name}{suffix}": jupytext.writes(student, fmt=kind)
        for name, student in made_of(sources, student_version).items()
        for suffix, kind in ((".py", "py:percent"), (".ipynb", "ipynb"))
    }
    return write_new(texts, output)


def _stub(solution: str, function: ast.FunctionDef) -> str:
    if ast.get_docstring(function) is None:
        raise ValueError(f"solution: expected a docstring in {function.name}, got none")
    head = solution.splitlines()[function.lineno - 1 : function.body[0].end_lineno]
    return "\n".join([*head, "    raise NotImplementedError"])
