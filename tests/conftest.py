"""Fixtures that more than one test file needs."""

import importlib.util
import inspect
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import jaxtyping
import pandas as pd
import pytest
import torch
from accelerate import PartialState
from transformers.processing_utils import ProcessorMixin

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.py"))

# Marks are given here alone.  Slow is what trains, starts processes, executes chapters or asks
# models many questions: whole files, and single tests of files that are quick otherwise.
SLOW_FILES = (
    "test_changed.py",
    "test_devices.py",
    "test_evaluation.py",
    "test_installed.py",
    "test_joined.py",
    "test_joining.py",
    "test_measured.py",
    "test_pictures.py",
    "test_pretrained.py",
    "test_publish_joined.py",
    "test_recipes.py",
    "test_sap.py",
    "test_sap_images.py",
    "test_slurm.py",
    "test_smolvlm.py",
    "test_stored.py",
    "test_tower.py",
    "test_trace.py",
    "test_traced.py",
    "test_training.py",
    "test_workflow.py",
    "test_zoo.py",
)
SLOW_TESTS = {
    "test_cost.py": ("test_passes_and_decompositions_are_those_that_a_measurement_makes",),
    "test_digits.py": (
        "test_shipped_sets_are_what_the_command_writes",
        "test_shipped_annotations_are_what_the_command_writes",
    ),
    "test_questions.py": (
        "test_two_processes_give_the_table_of_one",
        "test_the_command_under_torchrun",
        "test_the_command_takes_prompt_and_number_format",
    ),
    "test_measure.py": ("test_two_processes_give_the_table_of_one",),
    "test_nbgrader.py": (
        "test_the_command_writes_a_folder_for_each_assignment_and_writes_over_no_work",
    ),
    "test_notebooks.py": ("test_it_executes_at_tier_smoke",),
    "test_teaching.py": ("test_the_command_writes_every_chapter_without_solutions",),
    "test_tracing_chapter.py": (
        "test_a_chapter_without_a_case_runs_to_its_end_and_decides_nothing",
    ),
    "test_parameters.py": (
        "test_papermill_fails_before_anything_is_done",
        "test_provenance_names_what_papermill_set_and_what_the_notebook_has",
    ),
    "test_theory_rid.py": ("test_the_novelty_of_noise",),
    "test_depth.py": ("test_both_halves_of_c073_hold_in_every_model_without_layer_0",),
}
BOOK_FILES = ("test_book.py",)


def keep_own_init(cls: type, **kwargs) -> None:
    """Types are not checked in a processor's `__init__`.

    transformers reads the names of its arguments off its code, and would find the check's.
    """
    if cls.__module__.startswith("lost_in_attention") and "__init__" in vars(cls):
        cls.__init__ = inspect.unwrap(cls.__init__)


ProcessorMixin.__init_subclass__ = classmethod(keep_own_init)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give tests the marks `slow`, `book` and `browser`, which `make quick` leaves out."""
    for item in items:
        file, test = item.path.name, getattr(item, "originalname", item.name)
        if file in SLOW_FILES or test in SLOW_TESTS.get(file, ()):
            item.add_marker(pytest.mark.slow)
        if file in BOOK_FILES:
            item.add_marker(pytest.mark.book)
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)


@contextmanager
def types_unchecked() -> Iterator[None]:
    """Within the block arguments may be of a wrong type, as callers may give them; or stand-ins."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def unchecked():
    """The whole test is such a block."""
    with types_unchecked():
        yield


@pytest.fixture(scope="session")
def browser():
    """One browser for all tests: playwright cannot be started twice in one process."""
    path = chromium_path()
    from playwright.sync_api import sync_playwright

    from lost_in_attention.publishing.printed import QUIET

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=list(QUIET))
        yield chromium
        chromium.close()


def chromium_path() -> str:
    """Where Chromium is.  Where it or playwright is missing the test is skipped.

    `make test` sets REQUIRE_BROWSER, and then it fails.
    """
    # Not above: the library's types are checked only where pytest imports it.
    from lost_in_attention.publishing.printed import BROWSERS

    found = [path for path in map(shutil.which, BROWSERS) if path]
    if not importlib.util.find_spec("playwright"):
        missing = "playwright is not installed"
    elif not found:
        missing = f"none of {', '.join(BROWSERS)} is on PATH; .ci/browser says how to get one"
    else:
        return found[0]
    (pytest.fail if os.environ.get("REQUIRE_BROWSER") else pytest.skip)(missing)


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


@pytest.fixture(scope="session")
def published_decoder() -> str:
    """The folder of SmolLM2 with its published weights; where it cannot be had, a skip."""
    from lost_in_attention.models.smollm2 import smollm2

    try:
        return smollm2()
    except OSError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def decoder(tmp_path_factory) -> str:
    """The folder of a small decoder of the pretrained one's class."""
    # Here, because most test files need neither the library's pictures nor a tokenizer.
    from decoders import save_small_decoder

    folder = tmp_path_factory.mktemp("decoder")
    save_small_decoder(folder)
    return str(folder)
