"""What the book's own Sphinx extensions make of pages, on a book of three small ones."""

import io
import re
from pathlib import Path

import nbformat
import pytest
import yaml
from jupyter_book.config import get_final_config
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

from conftest import ROOT

INDEX = """# Book

```{toctree}
notebooks/06_curves
notebooks/02_rank
read
```

{prf:ref}`thm-one` and {ref}`ex-one`.
"""
CHAPTER = """# A chapter

## A section

```{{prf:theorem}} T
:label: thm-{name}

Text.
```

```{{exercise}} E
:label: ex-{name}

Text.
```
"""
CURVES = "notebooks/06_curves.ipynb"
REPOSITORY = "https://github.com/someone/companion"
FIGURE = '<figure style="margin:1em 0"><figcaption>What is seen.</figcaption></figure>'
CONFIG = {
    "extensions": [
        "myst_nb",
        "sphinx_proof",
        "sphinx_exercise",
        "lost_in_attention.publishing.numbering",
        "lost_in_attention.publishing.folding",
        "lost_in_attention.publishing.repository",
    ],
    "html_theme": "sphinx_book_theme",
    "html_context": {"default_mode": "auto"},
    "mathjax_path": "mathjax.js",
    "nb_execution_mode": "off",
    "code_stays_open": ["notebooks/0[1-5]_*"],
    "suppress_warnings": ["mystnb.lexer"],
}


def chapter(name: str) -> nbformat.NotebookNode:
    """A chapter with a theorem, an exercise and its check, and three more cells of code."""
    v4 = nbformat.v4
    figure = v4.new_output("display_data", data={"text/html": FIGURE})
    cells = [
        v4.new_markdown_cell(CHAPTER.format(name=name)),
        v4.new_code_cell("method = 1"),
        v4.new_code_cell("draw = 2", outputs=[figure], metadata={"tags": ["hide-input"]}),
        v4.new_code_cell("check = 4", metadata={"tags": ["exercise-check"]}),
        v4.new_code_cell("removed = 3", outputs=[figure], metadata={"tags": ["remove-input"]}),
    ]
    return v4.new_notebook(cells=cells, metadata={"language_info": {"name": "python"}})


def theme_options(url: str) -> dict:
    """What Jupyter Book makes of the book's settings, were the repository at this address."""
    settings = yaml.safe_load((ROOT / "book/_config.yml").read_text())
    settings["repository"]["url"] = url
    config, _ = get_final_config(user_yaml=settings, cli_config={"latex_individualpages": False})
    return config["html_theme_options"]


def build(source: Path, out: Path, url: str) -> dict[str, str]:
    """The HTML of the built pages by their names; the repository is at `url`, if anywhere."""
    (source / "notebooks").mkdir()
    (source / "index.md").write_text(INDEX)
    (source / "read.md").write_text("# Read\n\nText.\n")
    for file, name in (("06_curves", "one"), ("02_rank", "two")):
        nbformat.write(chapter(name), source / "notebooks" / f"{file}.ipynb")
    said = io.StringIO()
    config = CONFIG | {"html_theme_options": theme_options(url)}
    trees = out / ".doctrees"
    with docutils_namespace():  # for more than one build in a process
        Sphinx(source, None, out, trees, "html", config, status=None, warning=said).build()
    assert said.getvalue() == ""
    return {path.stem: path.read_text() for path in out.rglob("*.html")}


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, str]:
    """As the book is, without an address."""
    return build(tmp_path_factory.mktemp("book"), tmp_path_factory.mktemp("html"), "")


@pytest.fixture(scope="module")
def linked(tmp_path_factory) -> dict[str, str]:
    """The same book, where the repository has an address."""
    return build(tmp_path_factory.mktemp("book"), tmp_path_factory.mktemp("html"), REPOSITORY)


def text(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", "", html).split())


@pytest.mark.parametrize(("page", "number"), [("06_curves", "06"), ("02_rank", "02")])
def test_a_chapter_has_the_number_of_its_file(pages, page, number):
    shown = text(pages[page])
    assert f"{number}. A chapter" in re.search(r"<title>.*?<", pages[page])[0]
    assert f"Theorem {number}.1 (T)" in shown
    assert f"Exercise {number}.1 (E)" in shown
    assert re.search(r"<h2>A section", pages[page])


def test_the_contents_and_references_say_the_same_numbers(pages):
    shown = text(pages["index"])
    assert shown.index("06. A chapter") < shown.index("02. A chapter")
    assert "Theorem 06.1 and Exercise 06.1" in shown
    assert not re.search(r"\d\. Read", shown)


def test_figures_are_numbered_in_the_order_of_the_page(pages):
    assert re.findall(r"Figure ([\d.]+)\.</span> What", pages["06_curves"]) == ["06.1", "06.2"]
    assert "Figure 02.1." in pages["02_rank"]


def test_code_is_folded_unless_it_is_the_argument(pages):
    assert pages["06_curves"].count("<details") == 2
    assert pages["02_rank"].count("<details") == 1
    for page in ("06_curves", "02_rank"):
        assert "removed" not in pages[page]
        assert text(pages[page]).count("method = 1") == 1


def test_chapters_open_on_binder_and_colab_from_the_one_address(linked):
    links = re.findall(rf'href="(https://[^"]*{CURVES})"', linked["06_curves"])
    assert set(links) == {
        f"https://mybinder.org/v2/gh/someone/companion/main?urlpath=lab/tree/{CURVES}",
        f"https://colab.research.google.com/github/someone/companion/blob/main/{CURVES}",
    }
    assert f'href="{REPOSITORY}"' in linked["read"]
    assert "mybinder" not in linked["read"]


def test_buttons_ask_no_other_host_for_anything(linked):
    shown = r'<(?:script|img|link)\b[^>]*?(?:src|href)="((?:https?:)?//[^"]+)"'
    assert re.findall(shown, "".join(linked.values())) == []


def test_without_an_address_no_page_pretends_to_have_one(pages):
    for html in pages.values():
        assert not re.search(r"mybinder|colab|github\.com/(?!executablebooks)", html)


def test_the_notebooks_lie_where_the_buttons_lead():
    assert list((ROOT / "notebooks").glob("06_*.ipynb"))
