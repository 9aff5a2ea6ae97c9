"""Marks: what `make quick` leaves out exists, and a browser is never missed in silence."""

import importlib.util

import pytest

from conftest import BOOK_FILES, ROOT, SLOW_FILES, SLOW_TESTS, chromium_path

TESTS = ROOT / "tests"


@pytest.mark.parametrize("file", [*SLOW_FILES, *BOOK_FILES, *SLOW_TESTS])
def test_marked_files_are_there(file):
    assert (TESTS / file).is_file()


@pytest.mark.parametrize("file", SLOW_TESTS)
def test_marked_tests_are_there(file):
    source = (TESTS / file).read_text()
    assert [name for name in SLOW_TESTS[file] if f"\ndef {name}(" not in source] == []


@pytest.fixture(params=["Chromium", "playwright"])
def no_browser(request, monkeypatch):
    """A machine that lacks one of the two."""
    if request.param == "Chromium":
        monkeypatch.setenv("PATH", "")
    else:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


@pytest.mark.usefixtures("no_browser")
def test_without_a_browser_its_tests_are_skipped(monkeypatch):
    monkeypatch.delenv("REQUIRE_BROWSER", raising=False)
    with pytest.raises(pytest.skip.Exception, match="PATH|playwright"):
        chromium_path()


@pytest.mark.usefixtures("no_browser")
def test_where_one_is_required_they_fail(monkeypatch):
    monkeypatch.setenv("REQUIRE_BROWSER", "1")
    with pytest.raises(pytest.fail.Exception, match="PATH|playwright"):
        chromium_path()


def test_make_test_requires_one():
    recipe = (ROOT / "Makefile").read_text().partition("\ntest: ")[2].split("\n\n")[0]
    assert "REQUIRE_BROWSER=1" in recipe
