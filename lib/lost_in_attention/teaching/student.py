"""The student version of a chapter: exercises, stubs and checks; solutions left out.

The conventions that it relies on are those of `lost_in_attention.teaching`.
"""

import ast
import re
from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode

from lost_in_attention.runs.files import replaced_when_complete
from lost_in_attention.runs.paths import check_writable

SOLUTION, CHECK = "solution", "exercise-check"
# The directive with the solution in words, to the fence that closes it.
_WORDS = re.compile(r"^(`{3,})\{solution\}.*?^\1\n?", re.MULTILINE | re.DOTALL)


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
    """A copy of a chapter without outputs, the words of its solutions, and their code."""
    student = nbformat.from_dict(chapter)
    for cell in student.cells:
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"\n{3,}", "\n\n", _WORDS.sub("", cell.source)).strip()
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

    Raises, before anything is written:
        FileNotFoundError: a source is not there.
        ValueError: a solution cell that breaks the conventions, named with its file, or an
            `output` that cannot be written or holds a folder of a chapter's name.
        FileExistsError: a file lies there that says something else, such as a student's work.
    """
    for source in sources:
        if not source.is_file():
            raise FileNotFoundError(f"sources: expected {source} to be a file")
    texts = {}
    for source in sources:
        try:
            student = student_version(jupytext.read(source))
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from error
        for suffix, kind in ((".py", "py:percent"), (".ipynb", "ipynb")):
            texts[output / f"{source.stem}{suffix}"] = jupytext.writes(student, fmt=kind)
    check_writable("output", output)
    if folders := [str(path) for path in texts if path.is_dir()]:
        raise ValueError(f"output: expected files or nothing, got the folder {folders[0]!r}")
    other = [
        str(path) for path, text in texts.items() if path.exists() and path.read_text() != text
    ]
    if other:
        raise FileExistsError(
            f"output: expected no exercises that were worked on, found {', '.join(other)}; "
            "move them or choose another folder"
        )
    for path, text in texts.items():
        with replaced_when_complete(path) as part:
            part.write_text(text)
    return list(texts)


def _stub(solution: str, function: ast.FunctionDef) -> str:
    if ast.get_docstring(function) is None:
        raise ValueError(f"solution: expected a docstring in {function.name}, got none")
    head = solution.splitlines()[function.lineno - 1 : function.body[0].end_lineno]
    return "\n".join([*head, "    raise NotImplementedError"])
