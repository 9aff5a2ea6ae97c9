"""Fixtures that more than one test file needs."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from accelerate import PartialState
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


def in_two_processes(
    make_table: Callable[[Path], pd.DataFrame], folder: Path
) -> list[pd.DataFrame]:
    """The table that each of two processes gets from a test module's `make_table(folder)`."""
    module, name = make_table.__module__, make_table.__name__
    launch = (
        f"import conftest, {module}; from accelerate import debug_launcher; "
        f"debug_launcher(conftest.keep_table, ({module}.{name}, {str(folder)!r}), num_processes=2)"
    )
    # A process of its own: forking this one, with its threads, could hang.
    command = [sys.executable, "-c", launch]
    run = subprocess.run(command, cwd=ROOT / "tests", capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return [pd.read_parquet(folder / f"table{process}.parquet") for process in (0, 1)]


def keep_table(make_table: Callable[[Path], pd.DataFrame], folder: str) -> None:
    """What each of the two does."""
    torch.set_num_threads(1)
    state = PartialState(cpu=True)
    assert state.num_processes == 2
    make_table(Path(folder)).to_parquet(Path(folder) / f"table{state.process_index}.parquet")
