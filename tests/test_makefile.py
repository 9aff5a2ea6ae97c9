"""The Makefile: a page build counts once it is complete, and an environment where it was made."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT
from lost_in_attention.benchmarks import BENCHMARKS, load_benchmark

# Writes index.html before the other page; where "dies" lies, all is killed in between, make too.
BUILDER = """#!/usr/bin/env bash
out=book; while [ $# -gt 1 ]; do if [ "$1" = --path-output ]; then out=$2; fi; shift; done
mkdir -p "$out/_build/html"
cat book/intro.md > "$out/_build/html/index.html"
if [ -e dies ]; then kill -KILL 0; fi
cat book/intro.md > "$out/_build/html/last.html"
"""
# Stands for the commands that write the scorecard, the pages on the paper and the list of the
# library's pages.
PYTHON = """#!/usr/bin/env bash
echo > book/scorecard.md
echo > book/paper_map.md
echo > book/departures.md
echo > book/cite.md
echo > book/api.rst
"""
# Stands before them for the one that prints.
PRINTER = """#!/usr/bin/env bash
case "$*" in *printed*)
    echo "$@" >> printed
    touch book/_build/html/lost-in-attention.pdf
    exit
esac
"""


def make(folder: Path, *targets: str) -> subprocess.CompletedProcess:
    settings = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ["make", *targets],
        cwd=folder, env=settings, capture_output=True, text=True, start_new_session=True,
    )  # fmt: skip


def program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def clone(folder: Path) -> Path:
    """A folder with what the Makefile itself needs."""
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", folder)
    shutil.copytree(ROOT / ".ci", folder / ".ci")
    return folder


@pytest.fixture(params=["book", "a [1]"])
def book(tmp_path, request) -> Path:
    """A book of one page whose environment is there; its builder is the one above."""
    folder = clone(tmp_path / request.param)
    for name in ("book", "lib", "data", ".venv/bin"):
        (folder / name).mkdir(parents=True)
    for name in ("pyproject.toml", "constraints.txt", "book/intro.md"):
        (folder / name).write_text("one\n")
    (folder / ".venv/pyvenv.cfg").write_text(f"command = python3 -m venv {folder}/.venv\n")
    program(folder / ".venv/bin/python", PYTHON)
    program(folder / ".venv/bin/jupyter-book", BUILDER)
    for stamp in ("created", "book-installed"):
        (folder / ".venv" / stamp).touch()
    return folder


def pages(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (folder / "book/_build/html").glob("*.html")}


def test_a_killed_build_does_not_count(book):
    (book / "dies").touch()
    assert make(book, "book").returncode != 0
    assert pages(book) == {}
    (book / "dies").unlink()
    built = make(book, "book")
    assert built.returncode == 0, built.stderr
    assert f"Open file://{book}/book/_build/html/index.html" in built.stdout
    assert pages(book) == dict.fromkeys(("index.html", "last.html"), "one\n")
    assert "building the pages" not in make(book, "book").stdout


def test_a_killed_rebuild_leaves_the_older_pages_and_is_done_again(book):
    assert make(book, "book").returncode == 0
    os.utime(book / "book/_build/html/index.html", (1, 1))
    (book / "book/intro.md").write_text("two\n")
    (book / "dies").touch()
    for _ in range(2):
        assert make(book, "book").returncode != 0
        assert pages(book) == dict.fromkeys(("index.html", "last.html"), "one\n")
    (book / "dies").unlink()
    assert make(book, "book").returncode == 0
    assert pages(book) == dict.fromkeys(("index.html", "last.html"), "two\n")


def test_lab_installs_its_extra_and_opens_the_notebooks(book):
    decoder = book / ".cache/smollm2/source.json"
    decoder.parent.mkdir(parents=True)
    decoder.touch()
    for name in ("pip", "jupyter"):
        program(book / ".venv/bin" / name, f'#!/bin/sh\necho {name} "$@"\n')
    opened = "jupyter lab notebooks"
    first = make(book, "lab")
    assert first.returncode == 0, first.stderr
    assert first.stdout.splitlines() == [
        "== installing Jupyter",
        "pip install --disable-pip-version-check -c constraints.txt -e .[lab]",
        opened,
    ]
    assert make(book, "lab").stdout.strip() == opened


def test_the_book_is_printed_beside_its_pages_and_anew_where_they_are(book):
    program(book / ".ci/browser", "#!/bin/sh\n")
    program(book / ".venv/bin/python", PRINTER + PYTHON)
    pdf = book / "book/_build/html/lost-in-attention.pdf"
    for built in (1, 2):
        printed = make(book, "pdf")
        assert printed.returncode == 0, printed.stderr
        assert f"Open file://{pdf}" in printed.stdout
        command = "-m lost_in_attention.publishing.printed book/_build/html\n"
        assert (book / "printed").read_text() == command * built
        assert "printing" not in make(book, "pdf").stdout
        (book / "book/intro.md").write_text("other\n")
        os.utime(book / "book/_build/html/index.html", (1, 1))


def test_an_environment_is_made_anew_where_its_clone_was_copied_or_moved(tmp_path):
    first = clone(tmp_path / "deep" / "first")
    # Without pip, which takes most of the time.
    program(first / ".ci/python", f'#!/bin/sh\nexec "{sys.executable}" "$@" --without-pip\n')
    made = make(first, ".venv/created")
    assert made.stdout.strip() == "== creating .venv", made.stderr
    (first / ".venv" / "book-installed").touch()
    assert make(first, ".venv/created").stdout.strip() == "make: '.venv/created' is up to date."
    copied = shutil.copytree(first, tmp_path / "deep" / "a [1]", symlinks=True)
    moved = first.rename(tmp_path / "first")
    for place in (copied, moved):
        assert "the one here was made for another place" in make(place, ".venv/created").stdout
        assert not (place / ".venv" / "book-installed").exists()
        assert f"{place}/.venv" in (place / ".venv/bin/activate").read_text()
        assert "up to date" in make(place, ".venv/created").stdout


def test_this_environment_says_where_it_was_made():
    """What the Makefile looks for, as Python's venv writes it."""
    settings = Path(sys.prefix) / "pyvenv.cfg"
    if settings.exists():
        assert f" {Path(sys.prefix).resolve()}\n" in settings.read_text() + "\n"


def test_data_is_found_in_a_folder_whose_name_is_a_pattern(tmp_path, monkeypatch):
    place = tmp_path / "a [1]*?"
    place.mkdir()
    (place / "data").symlink_to(ROOT / "data")
    monkeypatch.setenv("LOST_IN_ATTENTION_DATA", str(place / "data"))
    for benchmark in BENCHMARKS:
        assert len(load_benchmark(benchmark)) >= 1000
