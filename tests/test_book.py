"""The book: its notebooks give what they hold, and its pages read offline and on a phone."""

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urldefrag, urljoin, urlparse

import pytest
import yaml

from conftest import NOTEBOOKS, ROOT
from lost_in_attention.publishing import printed
from lost_in_attention.publishing.api_reference import rooms

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PHONE = {"width": 390, "height": 844}
TOC = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text())
CHAPTERS = [chapter["file"] for part in TOC["parts"] for chapter in part["chapters"]]
API = [f"api/{room}" for room in rooms() if room]
PAGES = [TOC["root"], *CHAPTERS, *API]
each_page = pytest.mark.parametrize("name", PAGES)
# Visible text outside code and equations: what is left of markup that was not rendered.
PROSE = """() => {
    const body = document.querySelector('article').cloneNode(true);
    body.querySelectorAll('pre, code, mjx-container, script, style').forEach(e => e.remove());
    return body.textContent;
}"""
UNRENDERED = re.compile(r"\$\$|\\[a-zA-Z]{2,}|:::|```|\{(?:prf:)?(?:ref|doc|term|cite\S*)\}")

# In the dark the same page has other colours alone.
RULES = {"light": {}, "dark": {"runOnly": ["color-contrast"]}}
# What Sphinx writes so: its bibliography, and the signatures of functions.
OF_SPHINX = (
    ("aria-allowed-role", "citation"),
    ("aria-deprecated-role", "citation"),
    ("aria-required-children", "citation-list"),
    ("definition-list", "<dl>"),
)
AXE = """async options => {
    const found = await axe.run(document, {...options, resultTypes: ['violations']});
    return found.violations.flatMap(rule => rule.nodes.map(
        node => [rule.id, node.target.join(' '), node.html.slice(0, 80), node.failureSummary]));
}"""


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


@dataclass(frozen=True)
class Build:
    """What the builder said and where the pages are; with warnings there are pages too."""

    exit_code: int
    report: str
    html: Path


@pytest.fixture(scope="session")
def build(tmp_path_factory, replay) -> Build:
    """The book, built from nothing as `make book` builds it, around the stored notebooks."""
    written = ("scorecard.md", "paper_map.md", "departures.md", "cite.md", "api*")
    generated = shutil.ignore_patterns("_build", "notebooks", "generated", *written)
    book = tmp_path_factory.mktemp("site") / "book"
    shutil.copytree(ROOT / "book", book, ignore=generated)
    shutil.copy(ROOT / "CHANGELOG.md", book.parent)
    (book.parent / "data").symlink_to(ROOT / "data")
    (book / "notebooks").mkdir()
    for notebook in NOTEBOOKS:
        shutil.copy(notebook.with_suffix(".ipynb"), book / "notebooks")
    scorecard = [sys.executable, "-m", "lost_in_attention", "scorecard"]
    scorecard += ["--results", str(replay.results), "--output", str(book / "scorecard.md")]
    paper = [sys.executable, "-m", "lost_in_attention", "pages"]
    paper += ["--results", str(replay.results), "--output", str(book)]
    reference = [sys.executable, "-m", "lost_in_attention.publishing.api_reference", str(book)]
    cite = [sys.executable, "-m", "lost_in_attention.publishing.citation"]
    cite += [str(ROOT / "CITATION.cff"), str(book)]
    for command in (scorecard, paper, reference, cite):
        subprocess.run(command, check=True, cwd=ROOT)
    builder = str(Path(sys.executable).with_name("jupyter-book"))
    command = [builder, "build", "-W", "-n", "--keep-going", str(book)]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    return Build(run.returncode, run.stdout + run.stderr, book / "_build" / "html")


@pytest.fixture(scope="session")
def site(build) -> Path:
    return build.html


@pytest.fixture(scope="session")
def address(site):
    """Address of a server of the built book on this machine alone."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


def open_page(page: "Page", url: str) -> None:
    """Open a page and wait until its equations, if it has any, are set."""
    page.goto(url, wait_until="load")
    page.evaluate("() => window.MathJax?.startup?.promise")


@pytest.fixture
def phone(browser: "Browser"):
    """A page of phone width."""
    with browser.new_context(viewport=PHONE) as context:
        yield context.new_page()


@dataclass(frozen=True)
class Reading:
    """A page of the book at phone width, with what its opening asked for and complained of."""

    name: str
    page: "Page"
    requests: list[str]
    complaints: list[str]


@pytest.fixture(scope="module", params=PAGES)
def reading(request, browser, address) -> Iterator[Reading]:
    """Each page is opened once, and looked at by all tests before the next one is."""
    with browser.new_context(viewport=PHONE) as context:
        own = Reading(request.param, context.new_page(), [], [])
        own.page.on("request", lambda request: own.requests.append(request.url))
        own.page.on("response", lambda answer: answer.ok or own.complaints.append(answer.url))
        own.page.on("pageerror", lambda error: own.complaints.append(str(error)))
        own.page.on("console", lambda m: m.type == "error" and own.complaints.append(m.text))
        open_page(own.page, f"{address}{own.name}.html")
        yield own


def foreign(requests: list[str], address: str) -> list[str]:
    """Requests that left the server of the book."""
    return [url for url in requests if not url.startswith((address, "data:", "blob:"))]


def test_stored_outputs_come_out_again(replay):
    assert replay.exit_code == 0, replay.report


def test_the_book_builds_without_a_warning(build):
    assert build.exit_code == 0, build.report


def test_reading_a_page_needs_no_other_host_and_logs_no_error(reading, address):
    assert reading.requests
    assert foreign(reading.requests, address) == []
    assert reading.complaints == []


def test_equations_and_markup_are_rendered(reading):
    sources = reading.page.locator(".math.notranslate").count()
    assert reading.page.locator(".math.notranslate mjx-container").count() >= sources
    assert reading.page.locator("mjx-merror").count() == 0
    assert UNRENDERED.findall(reading.page.evaluate(PROSE)) == []


def test_the_book_has_equations(phone, address):
    open_page(phone, f"{address}notation.html")
    assert phone.locator("mjx-container").count() > 0


def test_every_image_is_shown_and_described(reading):
    images = reading.page.locator("article img")
    found = images.evaluate_all("all => all.map(i => [i.src.slice(0, 80), i.alt, i.naturalWidth])")
    assert [image for image in found if not image[1].strip() or not image[2]] == []
    if reading.name.startswith("notebooks/"):
        assert found, "a chapter without a figure"


def test_a_page_fits_a_phone(reading):
    width = reading.page.evaluate("document.documentElement.scrollWidth")
    assert width <= PHONE["width"]


def test_internal_links_lead_somewhere(reading, address, site):
    links = reading.page.locator("a[href]").evaluate_all(
        "all => all.map(a => a.getAttribute('href'))"
    )
    urls = {urljoin(reading.page.url, link) for link in links}
    broken = [url for url in urls if url.startswith(address) and not resolves(url, site)]
    assert broken == []


def resolves(url: str, site: Path) -> bool:
    """Whether a link into the book names a page that exists and an anchor on it."""
    url, anchor = urldefrag(url)
    path = site / urlparse(url).path.lstrip("/")
    if path.is_dir():
        path = path / "index.html"
    return path.is_file() and (not anchor or f'id="{anchor}"' in path.read_text())


@each_page
def test_no_page_holds_a_traceback(site, name):
    assert "Traceback" not in (site / f"{name}.html").read_text()


def test_search_finds_a_page(phone, address):
    open_page(phone, f"{address}search.html?q=attention")
    phone.locator("#search-results li").first.wait_for(timeout=20_000)


def test_a_request_to_another_host_would_be_seen(phone, address):
    requests = []
    phone.on("request", lambda request: requests.append(request.url))
    open_page(phone, f"{address}{TOC['root']}.html")
    phone.evaluate("new Image().src = 'http://other.invalid/x.png'")
    phone.wait_for_timeout(200)
    assert foreign(requests, address) == ["http://other.invalid/x.png"]


@pytest.fixture(scope="session")
def axe() -> str:
    """The script of axe-core, which looks for what keeps a reader out."""
    return files("axe_playwright_python").joinpath("axe.min.js").read_text()


def barriers(page: "Page", axe: str, scheme: str) -> list[list[str]]:
    """What axe-core finds in the light or in the dark: rule, place, element and what to do."""
    page.evaluate("scheme => document.documentElement.dataset.theme = scheme", scheme)
    page.evaluate(axe)
    return [
        [rule, place, element, what]
        for rule, place, element, what in page.evaluate(AXE, RULES[scheme])
        if not any(rule == known and part in element for known, part in OF_SPHINX)
    ]


def test_nothing_keeps_a_reader_out(reading, axe):
    """In the light; in the dark too, of the library's pages, which are alike, on one alone."""
    alike = reading.name in API[1:]
    for scheme in list(RULES)[: 1 if alike else None]:
        assert barriers(reading.page, axe, scheme) == []


def test_a_caption_too_pale_would_be_seen(phone, address, axe):
    open_page(phone, f"{address}scorecard.html")
    for scheme, pale in (("light", "#aaa"), ("dark", "#444")):
        phone.add_style_tag(content=f"article figcaption {{ color: {pale} !important; }}")
        rules = {rule for rule, *_ in barriers(phone, axe, scheme)}
        assert rules == {"color-contrast"}


def test_wide_tables_fit_beside_the_sidebar(browser, address):
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        page = context.new_page()
        for name in ("scorecard", "paper_map", "departures"):
            open_page(page, f"{address}{name}.html")
            tables = page.locator("article .pst-scrollable-table-container")
            hidden = tables.evaluate_all("all => all.map(t => t.scrollWidth - t.clientWidth)")
            assert hidden
            assert max(hidden) <= 0


def test_paper_shows_the_code_that_a_screen_folds(phone, address):
    open_page(phone, f"{address}notebooks/06_layerwise_curves.html")
    code = phone.locator("article details.hide pre")
    shown = "all => all.map(pre => pre.checkVisibility())"
    assert not any(code.evaluate_all(shown))
    phone.emulate_media(media="print")
    assert all(code.evaluate_all(shown))


def test_the_book_is_one_document_that_fits_a_sheet(browser, address, site):
    (site / "printed.html").write_text(printed.one_document(site))
    with browser.new_context(viewport={"width": 700, "height": 900}) as context:
        page = context.new_page()
        page.set_default_timeout(600_000)  # thousands of equations
        page.emulate_media(media="print")
        page.goto(f"{address}printed.html", wait_until="load")
        page.wait_for_function(f"document.title === {printed.TITLE!r}")
        assert page.locator(".page").count() == len(PAGES)
        assert page.locator("mjx-merror").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= 700
    (site / "printed.html").unlink()
