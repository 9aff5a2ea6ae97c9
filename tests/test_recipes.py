"""The recipes of CONTRIBUTING.md do what they say: each block of code is run as it stands there."""

import re

import pandas as pd
import pytest

from conftest import ROOT
from lost_in_attention.benchmarks import benchmark
from lost_in_attention.sap import registry
from standins import copied

PAGE = (ROOT / "CONTRIBUTING.md").read_text()
SECTIONS = dict(section.split("\n", 1) for section in re.split(r"^## ", PAGE, flags=re.M)[1:])
BLOCKS = {
    title: re.findall(r"^```python\n(.*?)^```", text, flags=re.M | re.S)
    for title, text in SECTIONS.items()
}
RECIPES = ("A metric", "A prior", "A benchmark", "A family of models", "A chapter")


@pytest.fixture(autouse=True)
def _registries():
    """What a recipe registers is gone after it."""
    kept = [(known, dict(known)) for known in (registry.PRIORS, benchmark.BENCHMARKS)]
    yield
    for known, before in kept:
        known.clear()
        known.update(before)


def run(title: str, **replaced: str) -> dict:
    """The names that a recipe leaves."""
    [code] = BLOCKS[title]
    for old, new in replaced.items():
        assert old in code
        code = code.replace(old, new)
    names: dict = {"__name__": "recipe"}
    exec(compile(code, f"{title} in CONTRIBUTING.md", "exec"), names)
    return names


def test_every_recipe_is_run_here():
    assert {title for title, found in BLOCKS.items() if found} == set(RECIPES)


@pytest.mark.parametrize("title", ["A metric", "A prior", "A benchmark"])
def test_what_a_reader_adds_is_short_and_imports_public_names_alone(title):
    [code] = BLOCKS[title]
    body = re.sub(r"^(from|import) (.*\((.|\n)*?\)|.*)$", "", code, flags=re.M)
    assert len([line for line in body.splitlines() if line.strip()]) <= 25
    assert not re.search(r"(import|,|\.) *_[a-z]", code)


def test_a_metric():
    table: pd.DataFrame = run("A metric")["table"]
    assert (table["growth"] > 0).all() and table["growth"].nunique() == len(table)
    assert {"rid", "mixig"} <= set(table)


def test_a_prior():
    names = run("A prior")
    assert len(names["table"]) == 8
    assert set(names["table"]["model"].str.contains("SAP brightness")) == {True}


def test_a_benchmark():
    table = run("A benchmark")["table"]
    assert table["answer"].tolist() == ["red", "green", "blue"]
    assert (table["correct"] == (table["parsed"] == table["answer"])).all()


def test_a_family(tmp_path, capsys):
    folder = copied("small-llava", tmp_path)
    names = run("A family of models", **{"./path/to/folder": str(folder)})
    layers, visual = capsys.readouterr().out.split()
    assert (int(layers), int(visual)) == (len(names["vlm"].layers), 64)


def test_a_chapter():
    names = run("A chapter")
    assert (names["tier"], names["model"], names["source"]) == ("book", "small-llava", "digits")
