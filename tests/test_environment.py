"""The files that describe the environment agree with one another and with what is installed."""

import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version

import pytest
import yaml
from jupyter_client.kernelspec import NATIVE_KERNEL_NAME
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import lost_in_attention
from conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
CONDA_NAMES = {"pytorch": "torch"}


def ranges(lines: list[str]) -> dict[str, str]:
    """Version range of every package in requirement lines, by canonical name."""
    requirements = [Requirement(line) for line in lines]
    return {canonicalize_name(r.name): str(r.specifier) for r in requirements}


def declared() -> dict[str, str]:
    """Every package that the library, the book, the workflow and the tests ask pip for."""
    extras = PROJECT["optional-dependencies"]
    lines = PROJECT["dependencies"] + extras["book"] + extras["workflow"] + extras["test"]
    return {name: r for name, r in ranges(lines).items() if name != PROJECT["name"]}


def pins() -> dict[str, str]:
    """Pinned version of every package in constraints.txt, by canonical name."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    lines = [line for line in lines if not line.startswith("#")]
    found = [re.fullmatch(r"([A-Za-z0-9._-]+)==([^+\s]+)", line) for line in lines]
    bad = [line for line, match in zip(lines, found, strict=True) if match is None]
    assert not bad, f"not plain public pins: {bad}"
    return {canonicalize_name(match[1]): match[2] for match in found}


def test_conda_and_pip_ask_for_the_same_packages_and_ranges():
    pip_lines = [line for entry in CONDA if isinstance(entry, dict) for line in entry["pip"]]
    assert pip_lines.pop() == "-e ."
    conda = ranges([entry for entry in CONDA if isinstance(entry, str)] + pip_lines)
    conda = {CONDA_NAMES.get(name, name): r for name, r in conda.items() if name != "pip"}
    assert conda.pop("python") == PROJECT["requires-python"]
    assert conda == declared()


@pytest.mark.parametrize(("name", "specifier"), sorted(declared().items()))
def test_every_package_is_pinned_within_its_range_and_installed_so(name, specifier):
    pinned = pins().get(name)
    assert pinned, f"constraints.txt has no {name}"
    assert Requirement(f"{name}{specifier}").specifier.contains(pinned)
    assert version(name).split("+")[0] == pinned


def test_what_make_lab_installs_is_pinned_within_its_range():
    """Not installed here: no test opens a notebook by hand."""
    book, *own = PROJECT["optional-dependencies"]["lab"]
    assert book == f"{PROJECT['name']}[book]"
    for name, specifier in ranges(own).items():
        assert Requirement(f"{name}{specifier}").specifier.contains(pins()[name])


def test_notebooks_ask_for_the_kernel_that_is_installed():
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        assert json.loads(path.read_text())["metadata"]["kernelspec"]["name"] == NATIVE_KERNEL_NAME


def test_torch_is_pinned_to_the_build_that_the_book_was_made_with():
    assert pins()["torch"] == "2.13.0"


def test_commits_are_checked_by_the_pinned_ruff():
    [repository] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["rev"] == f"v{pins()['ruff']}"
    assert [hook["id"] for hook in repository["hooks"]] == ["ruff-check", "ruff-format"]


def test_version_is_one_and_the_same_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert PROJECT["version"] == citation["version"] == lost_in_attention.__version__


def test_citation_names_the_paper():
    (paper,) = yaml.safe_load((ROOT / "CITATION.cff").read_text())["references"]
    assert paper["identifiers"] == [{"type": "other", "value": "arXiv:2605.05668"}]
    assert all(author["family-names"] for author in paper["authors"])


def test_the_code_is_clean_by_the_rules_of_pyproject():
    command = [sys.executable, "-m", "ruff", "check", "--output-format", "concise", str(ROOT)]
    checked = subprocess.run(command, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
