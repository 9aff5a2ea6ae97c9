"""Fixtures that more than one test file needs."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.py"))


BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="session")
def browser():
    """One browser for all tests: playwright cannot be started twice in one process."""
    found = [path for path in map(shutil.which, BROWSERS) if path]
    assert found, f"none of {', '.join(BROWSERS)} is on PATH; .ci/browser says how to get one"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found[0], args=list(FLAGS))
        yield chromium
        chromium.close()


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
    # Two notebooks at a time, a thread each; all cells of one on one kernel.
    command += ["-n", "2", "--dist", "loadscope", str(folder)]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, cwd=folder, env=one_thread, capture_output=True, text=True)
    return Replay(run.returncode, run.stdout + run.stderr, folder / "book" / "generated")
