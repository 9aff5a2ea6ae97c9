"""Figures that move without a kernel: their frames, their HTML, and what is refused."""

import itertools
import json
import re
import shutil
from html.parser import HTMLParser
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from PIL import Image

from conftest import ROOT
from lost_in_attention.publishing import interactive, page
from lost_in_attention.publishing.frames_planes import tilted_planes, tilted_vector
from lost_in_attention.publishing.frames_spectrum import spectrum_by_decay
from lost_in_attention.publishing.interactive import Slider, seen_from, show_interactive
from lost_in_attention.publishing.trace_explorer import LayeredGraph, show_graph


@pytest.fixture
def shown(monkeypatch):
    """What show_interactive hands to the notebook."""
    outputs = []
    monkeypatch.setattr(page, "display", lambda data, raw: outputs.append(data))
    return outputs


def frames(count):
    bars = [go.Frame(name=f"state {i}", data=[go.Bar(y=[i])]) for i in range(count)]
    return go.Figure(frames=bars, layout={"xaxis": {"title": {"text": "index"}}})


def show(figure, *, name="bars", alt="Bars.", caption="A figure.", sliders=None):
    sliders = [Slider("height", ["low", "high"])] if sliders is None else sliders
    show_interactive(figure, name, alt, plt.figure(), caption=caption, sliders=sliders)


def content(html: str) -> dict:
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', html)[1])


def test_the_page_gets_every_frame_the_sliders_and_a_still_image(shown):
    show(frames(2), alt='5 < 6 & "so on" </script><b>')
    (output,) = shown
    data = content(output["text/html"])
    assert [frame["name"] for frame in data["frames"]] == ["state 0", "state 1"]
    assert data["sliders"] == [{"label": "height", "positions": ["low", "high"], "start": 0}]
    assert data["layout"]["xaxis"]["title"]["text"] == "index"
    assert data["layout"]["height"] == interactive.HEIGHT
    images = []

    class Images(HTMLParser):
        def handle_starttag(self, tag, attributes):
            if tag == "img":
                images.append(dict(attributes))

    Images().feed(output["text/html"])
    assert [image["alt"] for image in images] == ['5 < 6 & "so on" </script><b>']
    assert images[0]["src"].startswith("data:image/png;base64,")


def test_no_text_ends_the_script_and_no_address_is_asked_for(shown):
    figure = frames(2)
    figure.frames[0].name = "</script><script>alert(1)</script>"
    show(figure)
    html = shown[0]["text/html"]
    assert html.count("<script") == html.count("</script>") == 1
    assert content(html)["frames"][0]["name"].startswith("</script>")
    assert "src=" not in html.replace('src="data:', "")


def test_the_fallback_is_closed(shown):
    before = plt.get_fignums()
    show(frames(2))
    assert plt.get_fignums() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "Bad Name"}, "name: expected lower_case words and digits, got 'Bad Name'"),
        ({"alt": " "}, "alt of figure 'bars': expected words"),
        ({"caption": ""}, "caption of figure 'bars': expected words"),
        ({"sliders": []}, r"slider positions \(no slider\), got 2"),
        ({"sliders": [Slider("a", "xyz"), Slider("b", "xy")]}, r"\(3 x 2\), got 2"),
    ],
)
def test_bad_arguments_are_named(shown, change, message):
    with pytest.raises(ValueError, match=message):
        show(frames(2), **change)
    assert not shown


def test_a_frame_without_words_is_refused(shown):
    with pytest.raises(ValueError, match="expected names to read out, got 1 without one"):
        show(go.Figure(frames=[go.Frame(name="one"), go.Frame()]))


def test_sliders_need_positions_and_a_start_among_them():
    with pytest.raises(ValueError, match="positions: expected two or more"):
        Slider("one", ["only"])
    with pytest.raises(ValueError, match="start: expected an index from 0 to 1, got 2"):
        Slider("two", ["a", "b"], 2)


@pytest.mark.parametrize("azimuth", [0, 37, 200])
def test_the_view_is_orthographic(azimuth):
    axes = seen_from(np.eye(3), azimuth, 20)
    # The two rows of the projection are orthonormal, so no length grows.
    assert np.allclose(axes.T @ axes, np.eye(2))
    # Upwards stays upwards.
    assert axes[2, 0] == pytest.approx(0) and axes[2, 1] > 0


@pytest.mark.parametrize("make", [spectrum_by_decay, tilted_planes])
def test_frames_come_in_the_order_of_the_sliders(make):
    figure, sliders = make()
    combinations = list(itertools.product(*(slider.positions for slider in sliders)))
    assert len(figure.frames) == len(combinations)
    for frame, positions in zip(figure.frames, combinations, strict=True):
        # The first slider is what each sentence begins with.
        first = re.search(r"\d+", frame.name)[0]
        assert first == positions[0].rstrip("°")


def test_the_flat_spectrum_is_as_wide_as_effective_rank():
    figure, _ = spectrum_by_decay(8)
    for frame in figure.frames:
        bars, box = frame.data
        p = np.array(bars.y)
        p = p[p > 0] / p.sum()
        width = box.x[-1] - box.x[0]
        assert width == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=5e-3)
        assert width * box.y[1] == pytest.approx(1, rel=1e-2)


@pytest.mark.parametrize(("tilt", "place"), [(0, 90), (30, 0), (90, 90), (45, 60)])
def test_innovation_of_the_vector_is_the_product_of_two_sines(tilt, place):
    y = tilted_vector(tilt, place)
    assert np.linalg.norm(y) == pytest.approx(1)
    sines = np.sin(np.radians([tilt, place]))
    assert abs(y[2]) == pytest.approx(sines.prod())


def layered_graph(**change):
    """Four patches of an image in two layers; the key region is patch 1."""
    layers = [
        pd.DataFrame({"source": [0, 0, 2], "target": [1, 3, 2], "weight": [0.3, 0.1, 0.05]}),
        pd.DataFrame({"source": [1], "target": [1], "weight": [0.2]}),
    ]
    parts = {
        "image": Image.new("RGB", (20, 20), (255, 255, 255)),
        "centres": np.array([[5.0, 5], [15, 5], [5, 15], [15, 15]]),
        "key": np.array([False, True, False, False]),
        "outline": [((10, 0), (20, 0)), ((10, 0), (10, 10)), ((10, 10), (20, 10))],
        "layers": layers,
        "thresholds": [0.05, 0.1, 0.3],
    }
    return LayeredGraph(**parts | change)


def show_layers(graph, layer=0, threshold=0.1):
    show_graph(graph, "graph", "A graph.", plt.figure(), caption="Edges.",
               layer=layer, threshold=threshold)  # fmt: skip


def test_a_graph_is_stored_once_with_its_sliders(shown):
    show_layers(layered_graph())
    data = content(shown[0]["text/html"])
    assert [slider["label"] for slider in data["sliders"]] == [
        "layer", "threshold (attention weight)", "patch"
    ]  # fmt: skip
    assert [slider["start"] for slider in data["sliders"]] == [0, 1, 0]
    assert data["sliders"][2]["positions"] == ["all", "0", "1, key region", "2", "3"]
    assert data["graph"]["layers"][0]["target"] == [1, 3, 2]
    assert data["graph"]["key"] == [1] and "frames" not in data


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": [pd.DataFrame()]}, "layers: expected two or more, got 1"),
        ({"thresholds": [0.1]}, r"thresholds: expected rising ones, got \[0.1\]"),
        ({"thresholds": [0.3, 0.1]}, "thresholds: expected rising ones"),
        ({"centres": np.zeros((3, 2))}, "layers: expected patches below 3, got 3"),
    ],
)
def test_bad_graphs_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        layered_graph(**change)


def test_a_graph_starts_where_it_has_a_position(shown):
    with pytest.raises(ValueError, match=r"threshold: expected one of \[0.05, 0.1, 0.3\], got 0.2"):
        show_layers(layered_graph(), threshold=0.2)
    with pytest.raises(ValueError, match="start: expected an index from 0 to 1, got 2"):
        show_layers(layered_graph(), layer=2)
    assert not shown


def write_page(html, folder):
    """A page with one figure, beside the scripts as Sphinx would put them."""
    config = SimpleNamespace(html_static_path=[])
    app = SimpleNamespace(connect=lambda event, change: change(None, config))
    interactive.setup(app)
    for script in (*config.html_static_path, ROOT / "book" / "_static" / "interactive.js"):
        shutil.copy(script, folder)
    page = folder / "page.html"
    tag = '<script src="interactive.js" defer></script>'
    # The width of a phone's page, as the book's theme sets it.
    view = '<meta name="viewport" content="width=device-width">'
    page.write_text(f'<meta charset="utf-8">{view}{tag}{html}')
    return page


@pytest.fixture
def page_file(shown, tmp_path):
    show(frames(2), sliders=[Slider("height", ["low", "high"])])
    return write_page(shown[0]["text/html"], tmp_path)


@pytest.fixture
def graph_page(browser, shown, tmp_path):
    """A phone's view of a page with a graph."""
    show_layers(layered_graph())
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.goto(write_page(shown[0]["text/html"], tmp_path).as_uri())
    page.locator(".js-plotly-plot svg").first.wait_for()
    yield page
    page.close()


def test_the_sliders_choose_the_edges_of_a_graph(graph_page):
    readout = graph_page.locator("output")
    assert readout.inner_text() == (
        "Layer 0, threshold 0.1: 2 edges between patches and 0 self-edges. "
        "Of these 2, 1 with an end in the key region of 1 patch."
    )
    graph_page.get_by_label("threshold").focus()
    graph_page.keyboard.press("ArrowLeft")
    assert "2 edges between patches and 1 self-edge. Of these 3, 1 with" in readout.inner_text()
    graph_page.get_by_label("layer").focus()
    graph_page.keyboard.press("ArrowRight")
    assert "Layer 1, threshold 0.05: 0 edges between" in readout.inner_text()
    assert graph_page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_patch_is_chosen_by_keyboard(graph_page):
    patch = graph_page.get_by_label("patch")
    patch.focus()
    graph_page.keyboard.press("ArrowRight")
    words = "Patch 0 attends to 0 earlier patches (blue); it is attended to by 2 later patches"
    assert words in graph_page.locator("output").inner_text()
    lines = graph_page.evaluate("document.querySelector('.plot').data.slice(0, 2).map(t => t.x)")
    assert lines == [[], [5, 15, None, 5, 15, None]]
    for _ in range(3):
        graph_page.keyboard.press("ArrowRight")
    assert patch.get_attribute("aria-valuetext") == "3"
    assert "attends to 1 earlier patch " in graph_page.locator("output").inner_text()


def test_pointing_at_a_patch_chooses_it(graph_page):
    """Pixels of the third patch, 5 of 20 across and 15 of 20 down, where Plotly draws it."""
    x, y = graph_page.evaluate(
        """() => {
            const plot = document.querySelector('.plot');
            const { xaxis, yaxis } = plot._fullLayout;
            const box = plot.getBoundingClientRect();
            return [box.x + xaxis._offset + xaxis.l2p(5), box.y + yaxis._offset + yaxis.l2p(15)];
        }"""
    )
    graph_page.mouse.move(x - 3, y - 3)
    graph_page.mouse.move(x, y)
    graph_page.wait_for_function("document.querySelector('output').textContent.includes('Patch 2')")
    assert graph_page.get_by_label("patch").input_value() == "3"


def test_the_keyboard_moves_the_figure(browser, page_file):
    page = browser.new_page(viewport={"width": 390, "height": 844})
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda r: r.url.startswith(("file:", "data:")) or problems.append(r.url))
    page.goto(page_file.as_uri())
    page.locator(".js-plotly-plot svg").first.wait_for()
    assert page.locator(".plot").get_attribute("aria-label") == "Bars."
    assert page.locator("output").inner_text() == "state 0"
    slider = page.get_by_label("height")
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("output").inner_text() == "state 1"
    assert slider.get_attribute("aria-valuetext") == "high"
    assert page.evaluate("document.querySelector('.plot').data[0].y[0]") == 1
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert not page.locator("img").is_visible()
    assert problems == []
    page.close()


def test_without_scripts_or_without_plotly_the_still_image_stays(browser, page_file):
    without = browser.new_context(java_script_enabled=False).new_page()
    without.goto(page_file.as_uri())
    assert without.locator("img").is_visible()
    (page_file.parent / "plotly.min.js").unlink()
    lost = browser.new_page()
    lost.goto(page_file.as_uri())
    assert lost.locator("img").is_visible() and lost.locator("input").count() == 0
