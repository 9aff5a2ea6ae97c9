"""Parameters of notebooks: what papermill sets is one of them, and so is what provenance names."""

import ast
import json
import re
import shlex

import jupytext
import nbformat
import papermill
import pytest

from conftest import NOTEBOOKS, ROOT
from lost_in_attention.benchmarks import BENCHMARKS, base, load_benchmark
from lost_in_attention.publishing import report
from lost_in_attention.runs.parameters import check_injected, own_parameters

OWN = 'tier = "book"\nquestions = 60\nsize = 0.3\nmodel = "small-llava"\n'
REST = 'seed = 0\noutput = "made"\n'
CELLS = ["", "import x", OWN]


def injected(text):
    return [*CELLS, f"# Parameters\n{text}\n", "run = start()"]


def test_what_the_notebook_has_passes():
    check_injected([])
    check_injected(CELLS)
    check_injected(injected('tier = "smoke"\nquestions = 8\nsize = 1\nmodel = "other"'))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("question = 8", r"among \['tier', 'questions', 'size', 'model'\], got \['question'\]"),
        ('questions = "twenty"', "questions: expected int such as 60, got 'twenty'"),
        ("questions = 8.5", "questions: expected int such as 60, got 8.5"),
        ("questions = True", "questions: expected int such as 60, got True"),
        ("questions = None", "questions: expected int such as 60, got None"),
        ('size = float("nan")', "size: expected float such as 0.3, got .*nan"),
        ("model = 7", "model: expected str such as 'small-llava', got 7"),
    ],
)
def test_what_it_does_not_have_or_not_so_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        check_injected(injected(text))


def test_a_cell_of_papermills_that_is_executed_again_is_no_new_notebook():
    check_injected([*injected("questions = 8"), "# Parameters\nquestions = 9\n"])


def test_parameters_are_the_names_of_their_cell_as_they_are_now():
    values = {"x": 1, "questions": 8, "tier": "smoke", "size": 1, "model": "other", "kept": 3}
    own = own_parameters(values, injected("questions = 8"))
    assert own == {"tier": "smoke", "questions": 8, "size": 1, "model": "other"}
    assert list(own) == ["tier", "questions", "size", "model"]
    again = own_parameters(values, [*CELLS, 'tier = "book"\nkept = 3\n'])
    assert again == {"tier": "smoke", "kept": 3}
    for cells in ([], [""]):
        kept = own_parameters(
            {"pd": pytest, "LIMIT": 3, "tier": "book", "load": len, "n": 2}, cells
        )
        assert kept == {"tier": "book", "n": 2}
    with pytest.raises(ValueError, match="expected a cell that begins with 'tier = ', got none"):
        own_parameters(values, CELLS[:2])


def test_annotated_assignments_are_parameters_too():
    cell = 'tier: str = "book"\nn: int = 3\nunset: int\n'
    values = {"tier": "smoke", "n": 4, "unset": 5}
    assert own_parameters(values, [*CELLS, cell]) == {"tier": "smoke", "n": 4}
    check_injected([cell, "# Parameters\nn = 8\n"])
    with pytest.raises(ValueError, match="n: expected int such as 3, got 'many'"):
        check_injected([cell, '# Parameters\nn = "many"\n'])


@pytest.mark.parametrize("line", ["a, b = (1, 2)", "ns.x = 2", "a = b = 1", "ns['x'] = 2"])
def test_what_assigns_no_single_name_is_named(line):
    message = rf"parameters: expected one name in each assignment, got .*{re.escape(line)}"
    with pytest.raises(ValueError, match=message):
        own_parameters({"tier": "book"}, [OWN + line])
    with pytest.raises(ValueError, match=message):
        check_injected([OWN + line, "# Parameters\nquestions = 8\n"])


def test_a_parameter_that_was_deleted_is_named():
    values = {"tier": "book", "size": 0.3, "model": "small-llava"}
    with pytest.raises(ValueError, match=r"parameters: .* to be there, \['questions'\] missing"):
        own_parameters(values, [OWN, "del questions"])


def executed(given, tmp_path):
    """Runs a notebook that starts and leaves word of it."""
    cells = [
        nbformat.v4.new_code_cell("from lost_in_attention.publishing import report"),
        nbformat.v4.new_code_cell(OWN + REST, metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell(
            "import json\nrun = report.start('06_a', globals())\n"
            "with open('done', 'w') as file:\n    json.dump(run.provenance, file)"
        ),
    ]
    written = nbformat.v4.new_notebook(cells=cells, metadata={"language_info": {"name": "python"}})
    nbformat.write(written, tmp_path / "in.ipynb")
    papermill.execute_notebook(
        tmp_path / "in.ipynb",
        tmp_path / "out.ipynb",
        given,
        kernel_name="python3",
        cwd=tmp_path,
        progress_bar=False,
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"question": 8}, r"parameters: expected .* got \['question'\]"),
        ({"questions": "twenty"}, "questions: expected int such as 60, got 'twenty'"),
    ],
)
def test_papermill_fails_before_anything_is_done(given, message, tmp_path):
    with pytest.raises(papermill.PapermillExecutionError, match=message):
        executed(given, tmp_path)
    assert not (tmp_path / "done").exists()


def test_provenance_names_what_papermill_set_and_what_the_notebook_has(tmp_path):
    executed({"questions": 8}, tmp_path)
    origin = json.loads((tmp_path / "done").read_text())
    assert (origin["tier"], origin["seed"], origin["model"]) == ("book", 0, "small-llava")
    assert origin["parameters"] == {"questions": 8, "size": 0.3}


def parameters(source) -> dict:
    """Names and values of a notebook's parameters."""
    cells = jupytext.read(source).cells
    (cell,) = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    return {s.targets[0].id: ast.literal_eval(s.value) for s in ast.parse(cell.source).body}


@pytest.mark.parametrize("source", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_command_in_the_provenance_sets_all_that_decides_and_nothing_else(source, tmp_path):
    values = parameters(source)
    about_models = bool({"model", "models"} & values.keys())
    assert about_models == ("about_models=False" not in source.read_text())
    given = values | {"output": str(tmp_path)}
    run = report.start(source.stem, given, about_models=about_models)
    command = shlex.split(run.provenance["command"])
    named = [command[i + 1] for i, word in enumerate(command) if word == "-p"]
    assert sorted(named) == sorted(values.keys() - {"output"})


def test_the_source_in_the_readme_serves_every_benchmark(monkeypatch):
    command = re.search(r"papermill notebooks(?:.*\\\n)*.*", (ROOT / "README.md").read_text())[0]
    source, asked = re.search(r"-p source (\S+)", command)[1], []

    def not_now(self, repository, split):
        asked.append((self.key, self.hub, repository))
        raise InterruptedError

    monkeypatch.setattr(base.Published, "_from_hub", not_now)
    for name in BENCHMARKS:
        with pytest.raises(InterruptedError):
            load_benchmark(name, source)
    assert [key for key, _, _ in asked] == list(BENCHMARKS)
    assert all(hub == repository for _, hub, repository in asked)
