"""Notebooks: paired with their source, within the conventions, and executable."""

import ast
import re
from html.parser import HTMLParser

import jupytext
import nbformat
import papermill
import pytest

from conftest import NOTEBOOKS, ROOT

CHECKED = "nbval-check-output"
each_notebook = pytest.mark.parametrize("source", NOTEBOOKS, ids=lambda path: path.stem)


def stored(source):
    """The stored notebook that belongs to a py:percent source."""
    return nbformat.read(source.with_suffix(".ipynb"), as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tags(cell):
    return cell.metadata.get("tags", [])


def html_images_without_alt(html: str) -> int:
    """Number of <img> in a piece of HTML whose alt attribute is missing or blank."""
    bare = []

    class Images(HTMLParser):
        def handle_starttag(self, tag, attributes):
            if tag == "img" and not (dict(attributes).get("alt") or "").strip():
                bare.append(tag)

    Images().feed(html)
    return len(bare)


def images_without_alt(cell) -> int:
    """Number of images in a cell's outputs that a screen reader could not describe."""
    alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "").strip()
    count = 0
    for output in cell.outputs:
        data = output.get("data", {})
        if "text/html" in data:
            count += html_images_without_alt(data["text/html"])
        elif any(kind.startswith("image/") for kind in data) and not alt:
            count += 1
    return count


def test_there_are_notebooks_and_each_has_its_pair():
    assert NOTEBOOKS
    paired = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
    assert paired == [path.stem for path in NOTEBOOKS]


@each_notebook
def test_source_and_stored_notebook_are_in_sync(source):
    def cells(notebook):
        return [(cell.cell_type, cell.source.strip(), tags(cell)) for cell in notebook.cells]

    assert cells(jupytext.read(source)) == cells(stored(source))


def parameters(source) -> dict:
    """Names and values of the cell tagged `parameters`, which holds literals only."""
    (cell,) = [cell for cell in code_cells(jupytext.read(source)) if "parameters" in tags(cell)]
    statements = ast.parse(cell.source).body
    assert all(isinstance(statement, ast.Assign) for statement in statements)
    return {s.targets[0].id: ast.literal_eval(s.value) for s in statements}


@each_notebook
def test_parameters_are_literals_and_the_tier_is_book(source):
    values = parameters(source)
    assert next(iter(values)) == "tier"
    assert values["tier"] == "book"
    assert values["output"] == "book/generated"


def test_the_readme_sets_parameters_that_the_notebook_has():
    readme = (ROOT / "README.md").read_text()
    command = re.search(r"papermill (notebooks/\w+)\.ipynb(?:.*\\\n)*.*", readme)
    names = set(re.findall(r"-p (\w+)", command[0]))
    assert {"tier", "models"} <= names
    assert names <= parameters(ROOT / f"{command[1]}.py").keys()


@each_notebook
def test_cells_can_be_read(source):
    """How many cells a chapter needs its author sees; no cell may be longer than a screen."""
    notebook = jupytext.read(source)
    assert notebook.cells[0].cell_type == "markdown"
    assert max(len(cell.source.splitlines()) for cell in code_cells(notebook)) <= 40


@each_notebook
def test_cells_that_draw_are_folded(source):
    drawing = [c for c in code_cells(jupytext.read(source)) if "run.figure(" in c.source]
    assert all("hide-input" in tags(cell) for cell in drawing)


@each_notebook
def test_stored_outputs_are_complete_and_without_errors(source):
    cells = code_cells(stored(source))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert "error" not in {output.output_type for output in outputs}
    assert "stderr" not in {output.get("name") for output in outputs}


@each_notebook
def test_every_stored_image_has_alt_text(source):
    assert not any(images_without_alt(cell) for cell in code_cells(stored(source)))


# All are executed again at tier book.  Those about one model do the same at tier smoke, with fewer
# questions.
OF_MODELS = [source for source in NOTEBOOKS if "models" in parameters(source)]


@pytest.mark.parametrize("source", OF_MODELS, ids=lambda path: path.stem)
def test_it_executes_at_tier_smoke(source, tmp_path):
    asked = {"tier": "smoke", "output": str(tmp_path / "generated")}
    # All subjects are measured where the stored notebooks are executed again.
    asked["models"] = "small-llava,small-qwen2.5-vl"
    papermill.execute_notebook(
        source.with_suffix(".ipynb"),
        tmp_path / "executed.ipynb",
        parameters=asked,
        kernel_name="python3",
        cwd=ROOT,
        progress_bar=False,
    )
    assert any((tmp_path / "generated").rglob("*.json")), "it wrote no provenance"


def test_some_stored_outputs_are_compared():
    cells = [cell for source in NOTEBOOKS for cell in code_cells(stored(source))]
    checked = [cell for cell in cells if CHECKED in tags(cell)]
    assert checked, f"no cell is tagged {CHECKED}: stripped notebooks would pass"
    assert all(cell.outputs for cell in checked), "a cell to compare has no stored output"
