"""The library as pip installs it: away from the repository, without its data."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from conftest import ROOT
from standins import copied

# Loads the folder MODEL, measures two samples, and says where the library lies and what it lacks.
PROGRAM = """
import sys
import numpy as np
from PIL import Image
import lost_in_attention
from lost_in_attention.benchmarks import Sample, load_benchmark
from lost_in_attention.models import load
from lost_in_attention.residual.measure import measure

print(lost_in_attention.__file__)
random = np.random.default_rng(0)
samples = [
    Sample(
        id=name,
        images=(Image.fromarray(random.integers(0, 256, (96, 96, 3), dtype=np.uint8)),),
        question="What is it?", prompt="What is it?", answer="", group="", image_source=name,
    )
    for name in ("one", "two")
]
table = measure(load(sys.argv[1]), samples)
print(len(table), table["rid"].gt(0).all())
for lacking in (lambda: load("small-llava"), lambda: load_benchmark("pope")):
    try:
        lacking()
    except FileNotFoundError as error:
        print(error)
"""


def installed(folder: Path) -> Path:
    """The packages that setuptools finds and their data, without the rest of the repository."""
    library = ROOT / "lib"
    for init in library.rglob("__init__.py"):
        target = folder / init.parent.relative_to(library)
        target.mkdir(parents=True, exist_ok=True)
        for file in (*init.parent.glob("*.py"), *init.parent.glob("*.toml")):
            shutil.copy(file, target)
    return folder


def test_a_folder_is_loaded_and_measured_without_the_repository(tmp_path):
    site, elsewhere = installed(tmp_path / "site"), tmp_path / "elsewhere"
    elsewhere.mkdir()
    model = copied("small-llava", tmp_path)
    unset = {key: value for key, value in os.environ.items() if key != "LOST_IN_ATTENTION_DATA"}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(model)],
        cwd=elsewhere, env=unset | {"PYTHONPATH": str(site)}, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    where, measured, model_lacks, set_lacks = run.stdout.splitlines()
    assert Path(where).is_relative_to(site)
    assert measured == "32 True"
    for message in (model_lacks, set_lacks):
        assert message.startswith("data folder: expected") and "LOST_IN_ATTENTION_DATA" in message


def test_no_module_lies_outside_a_package():
    """setuptools finds folders that hold __init__.py alone."""
    for module in (ROOT / "lib").rglob("*.py"):
        assert (module.parent / "__init__.py").exists(), module


def test_tests_need_no_playwright_but_those_that_read_pages():
    """A module that is None in sys.modules cannot be imported."""
    program = "import sys; sys.modules['playwright'] = None; import conftest"
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT / "tests", capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
