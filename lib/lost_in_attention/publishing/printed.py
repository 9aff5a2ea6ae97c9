"""The whole book as one PDF, made from its built pages by Chromium, without another host.

The pages' articles are put one after the other in the order of the sidebar, as one document: each
begins on a new sheet, links between them stay links, and what only a screen can use goes.  Chromium
sets the equations and prints it, with an outline that readers of PDF show beside the text.

`python -m lost_in_attention.publishing.printed book/_build/html` writes lost-in-attention.pdf
there, and a link to it into the first page.
"""

import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urldefrag, urljoin, urlparse

import typer

from lost_in_attention.runs.files import replaced_when_complete
from lost_in_attention.runs.refusals import run

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# Without a window of its own, and without a word to anyone.
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
FLAGS = (
    "--headless",
    *QUIET,
    "--no-pdf-header-footer",
    "--generate-pdf-document-outline",
    # In milliseconds of the page's own clock, which stands still while the page works.
    "--virtual-time-budget=100000",
)
FIRST, PRINTED = "intro.html", "lost-in-attention.pdf"
TITLE = "Lost in Attention, the companion"
# Stands in book/intro.md, where the link goes.
PLACE = "<!-- The printed book, where it was made -->"
LINK = f'<p>The whole book <a href="{PRINTED}">as one PDF</a>.</p>'
CONTENTS = "p.caption, ul:not(.bd-sidenav__home-link) > li > a.reference.internal"
SCREEN_ONLY = "a.headerlink, script, details.hide > summary"
# The downloads under a figure: a PDF would hold all their data as addresses.
_DOWNLOADS = re.compile(r' Download: (<a href="data:[^"]*" download="[^"]*">[^<]*</a>(, )?)+\.')
# Nothing keeps headings from the end of a sheet: Chromium would name them twice in the outline.
STYLE = """
@page { size: A4; margin: 16mm 14mm 18mm; @bottom-center { content: counter(page); } }
html { font-size: 10pt; }
body { width: 182mm; margin: 0 auto; background: white; }
.title { font-size: 2rem; }
nav { columns: 2; }
nav p { margin: 0.8em 0 0; }
.page { break-before: page; }
article h1 { font-size: 1.25rem; }
article h2 { font-size: 1.15rem; }
article h3 { font-size: 1rem; }
pre { white-space: pre-wrap !important; }
article :is(code, pre) { overflow-wrap: anywhere; }
article table { width: 100%; font-size: 0.85em; }
article :is(th, td) { min-width: 0 !important; padding: 0.2rem 0.3rem; }
article :is(div, section, figure, img, svg, table, pre, details) {
  overflow: visible !important; max-width: 100%;
}
article dt, .admonition-title { break-after: avoid; }
article :is(figure, img, tr, dt) { break-inside: avoid; }
"""
# Wide equations and tables shrink.  The title says that all are set: until then there is none.
READY = f"""(window.MathJax?.startup?.promise ?? Promise.resolve()).then(() => {{
  for (const each of document.querySelectorAll("mjx-container[display], article table")) {{
    const share = each.parentElement.clientWidth / each.scrollWidth;
    if (share < 1) each.style.zoom = share;
  }}
  document.title = "{TITLE}";
}})"""


def print_book(html: Path) -> None:
    """Write the PDF into the folder of the built pages, and the link to it into the first one.

    Raises:
        FileNotFoundError: there are no pages, or none of `BROWSERS` is on PATH.
        OSError: Chromium printed before all equations were set.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise FileNotFoundError(f"Chromium: expected one of {', '.join(BROWSERS)} on PATH")
    document = html / "printed.html"
    try:
        document.write_text(one_document(html))
        with replaced_when_complete(html / PRINTED) as part:
            _print(browser, document, part)
    finally:
        document.unlink(missing_ok=True)
    first = (html / FIRST).read_text()
    with replaced_when_complete(html / FIRST) as part:
        part.write_text(first.replace(PLACE, LINK))


def one_document(html: Path) -> str:
    """The built pages in the folder `html` as one page that lies there.

    Raises FileNotFoundError if one is missing.
    """
    contents = _parsed(html / FIRST).select_one("nav.bd-docs-nav").select(CONTENTS)
    names = [FIRST, *(each["href"] for each in contents if each.name == "a")]
    pages = {name: _parsed(html / name) for name in names}
    articles = [_article(name, page, pages) for name, page in pages.items()]
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en" data-theme="light">\n<head><meta charset="utf-8">',
            *map(str, pages[FIRST].select("link[rel=stylesheet]")),
            f"<style>{STYLE}</style></head>\n<body>",
            f'<p class="title">{TITLE}</p>\n<nav>{"".join(map(_entry, contents))}</nav>',
            *articles,
            *_equations(pages),
            f"<script>addEventListener('load', () => {READY})</script>\n</body></html>",
        ]
    )


def _print(browser: str, document: Path, pdf: Path) -> None:
    """Print the document; raises OSError unless it was ready."""
    command = [browser, *FLAGS, f"--print-to-pdf={pdf.resolve()}", document.resolve().as_uri()]
    subprocess.run(command, capture_output=True)
    if not pdf.exists() or f"/Title ({TITLE})".encode() not in pdf.read_bytes():
        raise OSError("Chromium: expected all equations to be set, got an earlier state or nothing")


def _parsed(page: Path) -> "BeautifulSoup":
    from bs4 import BeautifulSoup  # the library alone works without it

    return BeautifulSoup(_DOWNLOADS.sub("", page.read_text()), "html.parser")


def _anchor(page: str, name: str = "") -> str:
    """What a page, or a place on it, is called in the one document."""
    return "--".join(filter(None, [page.removesuffix(".html").replace("/", "-"), name]))


def _entry(entry: "Tag") -> str:
    """A line of the contents: a part's name, or a chapter with a link."""
    text = " ".join(entry.get_text().split())
    if entry.name == "p":
        return f"<p><b>{text}</b></p>"
    return f'<div><a href="#{_anchor(entry["href"])}">{text}</a></div>'


def _article(name: str, page: "BeautifulSoup", pages: "dict[str, BeautifulSoup]") -> str:
    """What a page says, as a part of the one document."""
    article = page.select_one("article.bd-article")
    for each in article.select(SCREEN_ONLY):
        each.decompose()
    for each in article.select("details.hide"):
        each.name = "div"
    for each in article.select("details"):
        each["open"] = ""
    for each in article.select("[id]"):
        each["id"] = _anchor(name, each["id"])
    for each in article.select("img[src]"):
        each["src"] = urljoin(name, each["src"])
    for each in article.select("a[href]"):
        _lead(each, name, pages)
    return f'<div class="page" id="{_anchor(name)}">{article}</div>'


def _lead(link: "Tag", name: str, pages: "dict[str, BeautifulSoup]") -> None:
    """Let a link of a page lead to its place in the document; to a page outside it is only text."""
    target, place = urldefrag(urljoin(name, link["href"]))
    if target in pages:
        link["href"] = f"#{_anchor(target, place)}"
    elif not urlparse(target).scheme:
        link.unwrap()


def _equations(pages: "dict[str, BeautifulSoup]") -> list[str]:
    """What sets the equations, from the first page that has any."""
    for name, page in pages.items():
        if setter := page.select_one("script[src*=mathjax]"):
            setter["src"] = urljoin(name, setter["src"])
            return [
                *(str(each) for each in page.select("script") if "MathJax" in each.text),
                str(setter),
            ]
    return []


app = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def book(html: Annotated[Path, typer.Argument(help="The folder of the built pages.")]) -> None:
    """Print the book."""
    print_book(html)


if __name__ == "__main__":
    run(app)
