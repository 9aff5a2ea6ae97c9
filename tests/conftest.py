"""Fixtures that more than one test file needs."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.py"))


@dataclass(frozen=True)
class Replay:
    """One run of the stored notebooks under nbval, at their own tier, in a folder apart."""

    exit_code: int
    report: str
    results: Path


@pytest.fixture(scope="session")
def replay(tmp_path_factory) -> Replay:
    """Stored notebooks executed again; cells tagged `nbval-check-output` are compared.

    nbval runs a notebook in the folder where it lies, so copies lie beside a link to data/: the
    relative paths of the repository hold, and results land in the temporary folder.
    """
    folder = tmp_path_factory.mktemp("replay")
    (folder / "data").symlink_to(ROOT / "data")
    for notebook in NOTEBOOKS:
        shutil.copy(notebook.with_suffix(".ipynb"), folder)
    # -c: outside the repository's settings, among them its limit on the time of one test.
    command = [sys.executable, "-m", "pytest", "-c", "/dev/null", "-p", "no:cacheprovider"]
    command += ["-q", "--nbval-lax", "--nbval-cell-timeout", "600", "--rootdir", str(folder)]
    run = subprocess.run([*command, str(folder)], cwd=folder, capture_output=True, text=True)
    return Replay(run.returncode, run.stdout + run.stderr, folder / "book" / "generated")
