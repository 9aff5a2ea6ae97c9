"""Fixtures that more than one test file needs."""

import shutil
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
