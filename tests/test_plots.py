"""The drawings show the numbers that they were given, in the book's colours."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lost_in_attention.publishing import plots
from lost_in_attention.publishing.dots import dots_by_model
from lost_in_attention.publishing.forest import forest
from lost_in_attention.publishing.votes import in_points


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


def test_a_legend_below_names_each_series_once():
    fig, (ax, other) = plots.panels(2)
    for each in (ax, other):
        each.plot([0, 1], [0, 1], label="a")
    plots.legend_below(fig, ax, columns=2)
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["a"]


def test_models_look_different_and_like_no_module():
    looks = plots.model_looks(list("abcdef"))
    assert len({tuple(look.items()) for look in looks.values()}) == 6
    assert not {look["color"] for look in looks.values()} & {plots.ATTENTION, plots.FFN}


def test_a_pretrained_model_comes_first_and_looks_the_same_in_every_figure():
    for small in (["a"], list("abcd"), list("abcdef")):
        looks = plots.model_looks([*small, "smollm2"])
        assert list(looks) == ["smollm2", *small]
        assert looks.pop("smollm2") == {"marker": "*", "color": "black"}
        assert looks == plots.model_looks(small)
        assert "black" not in {look["color"] for look in looks.values()}


GAPS = pd.DataFrame(
    [("x", "a", 1.0), ("y", "a", -1.0), ("x", "b", 0.5)], columns=["place", "model", "mean"]
)
GAPS = GAPS.assign(low=GAPS["mean"] - 0.25, high=GAPS["mean"] + 0.5)
LOOKS = {"a": {"marker": "o", "color": "C0"}, "b": {"marker": "s", "color": "C1"}}


def test_a_forest_has_a_line_a_row_and_a_mark_a_series():
    _, [ax] = plots.panels(1)
    forest(ax, GAPS, row="place", order=["y", "x"], series="model", looks=LOOKS)
    marks = {bars.get_label(): bars for bars in ax.containers}
    means = {name: bars.lines[0].get_xdata() for name, bars in marks.items()}
    assert means["a"] == pytest.approx([-1, 1])
    assert means["b"] == pytest.approx([np.nan, 0.5], nan_ok=True)
    [first], [second] = (bars.lines[2][0].get_segments()[1:] for bars in marks.values())
    assert first[:, 0] == pytest.approx([0.75, 1.5]) and second[:, 0] == pytest.approx([0.25, 1])
    assert round(first[0, 1]) == round(second[0, 1]) == 1 and first[0, 1] < second[0, 1]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["y", "x"]
    top, bottom = reversed(ax.get_ylim())
    assert top < bottom
    with pytest.raises(ValueError, match="one mark a row for model 'a', got more"):
        forest(ax, pd.concat([GAPS, GAPS]), row="place", order=["x"], series="model", looks=LOOKS)


def test_dots_stand_in_a_panel_a_model():
    cells = pd.DataFrame({"model": list("aab"), "prior": "p", "set": ["v", "u", "u"]})
    cells = cells.assign(change=[0.1, 0.2, 0.3], change_low=0.0, change_high=0.5)
    how = {"series": "prior", "looks": {"p": ("o", "C0")}, "across": "set", "ylabel": "points"}
    _, axes = dots_by_model(cells, ["b", "a"], "change", **how, row_height=2, columns=1)
    assert [ax.get_title(loc="left") for ax in axes] == ["b", "a"]
    drawn = [ax.containers[0].lines[0].get_ydata() for ax in axes]
    assert drawn[0] == pytest.approx([30]) and drawn[1] == pytest.approx([20, 10])
    assert [label.get_text() for label in axes[1].get_xticklabels()] == ["u", "v"]


def test_changes_in_points():
    row = pd.Series({"change": -0.0125, "change_low": -0.02, "change_high": 0.0, "p_holm": 0.01})
    assert in_points(row) == "-1.2*"
    assert in_points(row, interval=True) == "-1.2 [-2.0, +0.0]*"
    assert in_points(row.replace(0.01, 0.05)) == "-1.2"


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
    with pytest.raises(ValueError, match="expected it inside the 60 x 40 image, got"):
        plots.scene(Image.new("L", (60, 40)), ax, boxes=[("7", box)])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda ax: plots.layer_curves(curves(), "tme", ax), "rows for 'tme', got"),
        (lambda ax: plots.layer_curves(curves(layer=0), "rid", ax), "one 'rid' row a layer"),
        (lambda ax: plots.layer_curves(curves(), "rid", ax, x="time"), "x: expected"),
        (
            lambda ax: plots.layer_curves(curves()[["layer"]], "rid", ax),
            "table: expected",
        ),
        (lambda ax: plots.panels(0), "count: expected at least 1"),
    ],
)
def test_bad_input_is_named(call, message):
    _, (ax,) = plots.panels(1)
    with pytest.raises(ValueError, match=message):
        call(ax)
