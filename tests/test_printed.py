"""The printed book: all pages in one document, links inside it, equations set before it is made."""

import re
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from lost_in_attention.publishing import printed

PAGE = """<html><head>
<link rel="stylesheet" href="_static/a.css"><link rel="icon" href="x.svg">
<script>window.MathJax = {{}}</script><script defer src="{root}_static/mathjax/set.js"></script>
</head><body><nav class="bd-docs-nav">
<ul class="bd-sidenav__home-link"><li><a class="reference internal" href="#">Home</a></li></ul>
<p class="caption"><span>Theory</span></p>
<ul><li><a class="reference internal" href="notebooks/01_one.html">One</a>
<ul><li><a class="reference internal" href="api/deep.html">Deep</a></li></ul></li></ul>
</nav><article class="bd-article"><section id="top"><h1>{title}<a class="headerlink">#</a></h1>
{body}</section></article></body></html>"""
INTRO = f"{printed.PLACE}<p><a href='notebooks/01_one.html#top'>in</a></p>"
ONE = """<figure><img src="../pic.png"><figcaption>Seen. Download: <a href="data:x" download="a.csv"
>data (CSV)</a>, <a href="data:y" download="a.json">provenance (JSON)</a>.</figcaption></figure>
<details class="hide"><summary>Show</summary><pre>code</pre></details>
<details><summary>Hint</summary>words</details>
<a href="#top">up</a> <a href="../intro.html">first</a> <a href="../genindex.html">index</a>
<a href="https://example.org/">out</a>""".replace('"\n>', '">')


@pytest.fixture
def html(tmp_path) -> Path:
    """Three built pages, a stylesheet, and a script that sets equations slowly."""
    for folder in ("notebooks", "api", "_static/mathjax"):
        (tmp_path / folder).mkdir(parents=True)
    pages = {"intro": INTRO, "notebooks/01_one": ONE, "api/deep": "<p>Deep text.</p>"}
    for name, body in pages.items():
        root = "../" * name.count("/")
        text = PAGE.format(root=root, title=name.title(), body=body)
        (tmp_path / f"{name}.html").write_text(text)
    (tmp_path / "_static/mathjax/set.js").write_text(
        "MathJax.startup = {promise: new Promise(done => setTimeout(done, 3000))}"
    )
    return tmp_path


@pytest.fixture
def document(html) -> BeautifulSoup:
    return BeautifulSoup(printed.one_document(html), "html.parser")


def test_all_pages_stand_in_the_order_of_the_sidebar(document):
    assert [page["id"] for page in document.select(".page")] == [
        "intro",
        "notebooks-01_one",
        "api-deep",
    ]
    assert [line.text for line in document.select("nav p, nav a")] == ["Theory", "One", "Deep"]


def test_every_link_inside_leads_to_a_place_in_the_document(document):
    places = {each["id"] for each in document.select("[id]")}
    links = [each["href"] for each in document.select("a[href]")]
    assert len(places) == len(document.select("[id]"))
    assert {link[1:] for link in links if link.startswith("#")} <= places
    assert "#notebooks-01_one--top" in links
    assert [link for link in links if not link.startswith("#")] == ["https://example.org/"]


def test_what_only_a_screen_can_use_is_gone_and_the_rest_is_open(document):
    one = document.select(".page")[1]
    assert one.figcaption.text == "Seen."
    assert [each.summary.text for each in one.select("details[open]")] == ["Hint"]
    assert not one.select("details:not([open])")
    assert "Show" not in one.text
    assert "code" in one.text
    assert "index" in one.text
    assert "#" not in one.h1.text
    assert one.img["src"] == "pic.png"


def test_its_parts_are_asked_of_the_book_alone(document):
    assert [each["href"] for each in document.select("link")] == ["_static/a.css"]
    assert [each["src"] for each in document.select("script[src]")] == ["_static/mathjax/set.js"]


@pytest.mark.usefixtures("browser")
def test_it_is_printed_once_its_equations_are_set(html):
    printed.print_book(html)
    content = (html / printed.PRINTED).read_bytes()
    assert content.startswith(b"%PDF")
    # The contents, and a sheet for each page.
    assert len(re.findall(rb"/Type /Page\b", content)) == 4
    assert printed.LINK in (html / "intro.html").read_text()
    assert not (html / "printed.html").exists()


@pytest.mark.usefixtures("browser")
def test_what_is_not_ready_is_not_taken(html):
    (html / "_static/mathjax/set.js").write_text(
        "MathJax.startup = {promise: new Promise(() => 0)}"
    )
    with pytest.raises(OSError, match="expected all equations to be set"):
        printed.print_book(html)
    assert not (html / printed.PRINTED).exists()
    assert printed.PLACE in (html / "intro.html").read_text()


def test_without_a_browser_nothing_is_written(html, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(FileNotFoundError, match="Chromium: expected one of chromium"):
        printed.print_book(html)
    assert not list(html.glob("printed*"))
