"""The drawings show the numbers that they were given, in the book's colours."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lost_in_attention.publishing import plots


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def curves(**changes):
    rows = [
        {"layer": layer, "module": module, "quantity": "rid", "mean": mean + layer}
        for module, mean in (("ffn", 0.5), ("attention", 0.1))
        for layer in (2, 0, 1)
    ]
    table = pd.DataFrame(rows).assign(**changes)
    return table.assign(low=table["mean"] - 0.1, high=table["mean"] + 0.2)


def test_layer_curves_draw_means_in_layer_order_and_name_the_lines():
    _, (ax,) = plots.panels(1)
    plots.layer_curves(curves(), "rid", ax)
    attention, ffn = ax.lines
    assert attention.get_xydata() == pytest.approx(np.array([[0, 0.1], [1, 1.1], [2, 2.1]]))
    assert ffn.get_xydata() == pytest.approx(np.array([[0, 0.5], [1, 1.5], [2, 2.5]]))
    assert (attention.get_color(), ffn.get_color()) == ("#0072B2", "#D55E00")
    assert attention.get_linestyle() != ffn.get_linestyle()
    band = ax.collections[0].get_paths()[0].get_extents()
    assert (band.ymin, band.ymax) == pytest.approx((0.0, 2.3))
    labels = {text.get_text(): text for text in ax.texts}
    assert set(labels) == {"attention", "FFN"}
    assert (labels["FFN"].get_va(), labels["attention"].get_va()) == ("bottom", "top")
    assert ax.get_ylabel() == "RID (0 to 2)"


def test_depth_is_percent_of_the_last_layer():
    _, (ax,) = plots.panels(1)
    plots.layer_curves(curves(), "rid", ax, x="depth")
    assert ax.lines[0].get_xdata() == pytest.approx([0, 50, 100])
    assert "%" in ax.get_xlabel()


def test_panels_fit_a_page_and_stay_legible():
    fig, axes = plots.panels(5)
    assert len(axes) == len(fig.axes) == 5
    assert fig.get_size_inches()[0] < 6
    assert len({round(ax.get_position().x0, 6) for ax in axes}) == 1
    tick = axes[0].get_xticklabels()[0]
    assert min(tick.get_fontsize(), axes[0].xaxis.label.get_fontsize()) >= 9


def test_scene_draws_boxes_where_the_pixels_are():
    _, (ax,) = plots.panels(1)
    image = Image.fromarray(np.zeros((40, 60), dtype="uint8"))
    plots.scene(image, ax, boxes=[("7", (10, 5, 20, 30))], caption="one seven")
    box = ax.patches[0].get_bbox()
    assert box.bounds == pytest.approx((9.5, 4.5, 20, 30))
    assert [text.get_text() for text in ax.texts] == ["7"]
    assert ax.get_title() == "one seven"


@pytest.mark.parametrize("box", [(50, 0, 20, 10), (0, 35, 5, 10), (-1, 0, 5, 5)])
def test_scene_refuses_boxes_outside_the_image(box):
    _, (ax,) = plots.panels(1)
    with pytest.raises(ValueError, match="must lie inside the 60 x 40 image"):
        plots.scene(Image.new("L", (60, 40)), ax, boxes=[("7", box)])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda ax: plots.layer_curves(curves(), "tme", ax), "row for 'tme'; it holds"),
        (lambda ax: plots.layer_curves(curves(layer=0), "rid", ax), "more than one 'rid' row"),
        (lambda ax: plots.layer_curves(curves(), "rid", ax, x="time"), "x must be"),
        (lambda ax: plots.layer_curves(curves()[["layer"]], "rid", ax), "lacks the columns"),
        (lambda ax: plots.panels(0), "count must be at least 1"),
    ],
)
def test_bad_input_is_named(call, message):
    _, (ax,) = plots.panels(1)
    with pytest.raises(ValueError, match=message):
        call(ax)
