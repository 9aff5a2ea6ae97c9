"""What the chapters on tracing add: the cases, their comparison, and the drawings."""

import json
import math
from dataclasses import replace
from pathlib import Path

import jupytext
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import papermill
import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from conftest import NOTEBOOKS, ROOT
from lost_in_attention.benchmarks import load_benchmark
from lost_in_attention.digits.coco import shipped_annotations
from lost_in_attention.models import load
from lost_in_attention.publishing.claims import read_claims
from lost_in_attention.publishing.showing import show_figure, show_table
from lost_in_attention.publishing.trace_figures import (
    Case,
    case_of,
    draw_graph,
    draw_graphs,
    explorable,
    layers_shown,
)
from lost_in_attention.trace import Annotations, trace
from lost_in_attention.trace import cases as cases_module
from lost_in_attention.trace.cases import (
    answers_until,
    check_annotated,
    first_cases,
    present_questions,
)
from lost_in_attention.trace.comparison import (
    gap,
    held_out_auc,
    image_bootstrap,
    log_odds,
    matched_gap,
)

# --- Cases ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def questions():
    return load_benchmark("pope")


def test_each_present_object_is_asked_for_once(questions):
    present = present_questions(questions, seed=0)
    columns = ("answer", "question", "image_source")
    table = pd.DataFrame({column: questions.table[column][:] for column in columns})
    wanted = table[table["answer"] == "yes"][["question", "image_source"]].drop_duplicates()
    chosen = table.iloc[list(present.chosen)]
    assert set(chosen["answer"]) == {"yes"}
    assert not chosen.duplicated(["question", "image_source"]).any()
    assert len(present) == len(wanted)


def test_the_order_depends_on_the_seed_alone(questions):
    first, again, other = (present_questions(questions, seed=s).chosen for s in (0, 0, 1))
    assert first == again != other
    assert sorted(first) == sorted(other)


def test_present_questions_of_a_part_stay_in_it(questions):
    part = questions[:20]
    assert set(present_questions(part, seed=0).chosen) <= set(part.chosen)
    absent = replace(questions, chosen=[i for i in range(20) if questions[i].answer == "no"])
    with pytest.raises(ValueError, match="expected questions with the answer yes, got none"):
        present_questions(absent, seed=0)


@pytest.mark.usefixtures("unchecked")
def test_questions_without_annotations_are_refused_before_they_are_asked(questions):
    known = Annotations.read("digits")
    check_annotated(questions, known)
    columns = ("image_source", "question")
    other = {column: questions.table[column][:] for column in columns}
    for column, value, complaint in (
        ("image_source", "elsewhere", "image: expected one that is annotated, got 'elsewhere'"),
        ("question", "Is there a dog in the image?", "name: expected one of .*, got 'dog'"),
        ("question", "Where is it?", "question: expected 'Is there a"),
    ):
        table = Dataset.from_dict(other | {column: [value] * len(questions.table)})
        with pytest.raises(ValueError, match=complaint):
            check_annotated(replace(questions, table=table, chosen=[3]), known)


@pytest.fixture
def answers(monkeypatch):
    """Replaces the model: of each batch of ten, the last is wrong."""
    asked = []

    def fake(vlm, samples, *, benchmark, batch_size, output, resume):
        asked.append(len(samples))
        return pd.DataFrame({"correct": [i < batch_size - 1 for i in range(len(samples))]})

    monkeypatch.setattr(cases_module, "evaluate", fake)
    monkeypatch.setattr(cases_module, "BATCH", 10)
    return asked


@pytest.mark.usefixtures("unchecked")
def test_it_asks_until_both_kinds_are_found(answers, questions):
    found = answers_until(None, questions, wanted=3, at_most=100)
    assert answers == [10, 10, 10] and len(found) == 30
    first = first_cases(found, 3)
    assert first.index.tolist() == [0, 1, 2, 9, 19, 29]


@pytest.mark.usefixtures("unchecked")
def test_it_asks_no_more_than_allowed(answers, questions):
    found = answers_until(None, questions, wanted=9, at_most=25)
    assert answers == [10, 10, 5] and (~found["correct"]).sum() == 2
    assert len(first_cases(found, 9)) == 9 + 2
    assert len(answers_until(None, questions[:7], wanted=9, at_most=25)) == 7
    for name in ("wanted", "at_most"):
        with pytest.raises(ValueError, match=f"{name}: expected at least 1, got 0"):
            answers_until(None, questions, **{"wanted": 1, "at_most": 1, name: 0})


# --- Comparison -----------------------------------------------------------------------------


def cases_table(correct, ratio, share=None, kind="dog"):
    n = len(correct)
    return pd.DataFrame({
        "correct": np.array(correct, bool), "ratio": np.array(ratio, float),
        "key_share": np.full(n, 0.1) if share is None else share,
        "kind": kind, "image_source": [f"image {i}" for i in range(n)],
    })  # fmt: skip


def test_the_gap_is_right_minus_wrong():
    table = cases_table([1, 1, 0, 1], [0.2, 0.4, 0.1, np.nan])
    assert gap(table, "ratio") == pytest.approx(0.2)
    assert math.isnan(gap(table[:2], "ratio"))


def test_matching_removes_what_size_explains():
    """A ratio that is a function of size alone: a gap as it is, none when matched."""
    share = np.array([0.1, 0.2, 0.2, 0.4, 0.1, 0.2])
    table = cases_table([1, 1, 1, 1, 0, 0], share**2, share)
    assert gap(table, "ratio") > 0.02
    assert matched_gap(table, "ratio") == pytest.approx(0)
    assert math.isnan(matched_gap(table[:4], "ratio"))


def test_equally_near_cases_are_averaged():
    """0.1 and 0.4 are a factor of two from 0.2, both."""
    table = cases_table([1, 1, 0], [0.3, 0.5, 0.1], np.array([0.1, 0.4, 0.2]))
    assert matched_gap(table, "ratio") == pytest.approx(0.4 - 0.1)


@settings(max_examples=20, deadline=None)
@given(st.floats(0.5, 20), st.floats(-5, 5))
def test_log_odds_do_not_depend_on_the_scale(scale, shift):
    ratio = np.random.default_rng(0).random(40)
    table = cases_table(ratio + 0.3 * np.sin(np.arange(40)) > 0.5, ratio)
    moved = table.assign(ratio=scale * table["ratio"] + shift)
    expected = log_odds(table, "ratio", ["key_share", "kind"])
    assert expected > 0
    assert log_odds(moved, "ratio", ["key_share", "kind"]) == pytest.approx(expected, rel=1e-3)


def simulated(weight, n=4000, seed=0):
    """Right answers depend on size, and on the ratio with `weight`; ratio and size go together."""
    random = np.random.default_rng(seed)
    size = random.standard_normal(n)
    ratio = 0.6 * size + 0.8 * random.standard_normal(n)
    chance = 1 / (1 + np.exp(-(size + weight * ratio)))
    return cases_table(random.random(n) < chance, ratio, size)


def test_log_odds_are_those_that_were_simulated():
    """Four standard errors of a coefficient of 4,000 cases are about 0.2."""
    assert log_odds(simulated(0.0), "ratio", ["key_share"]) == pytest.approx(0, abs=0.2)
    assert log_odds(simulated(0.0), "ratio") > 0.3
    assert log_odds(simulated(0.7), "ratio", ["key_share"]) == pytest.approx(0.7, abs=0.2)


def test_one_kind_of_answer_has_no_odds():
    assert math.isnan(log_odds(cases_table([1, 1], [0.1, 0.2]), "ratio"))
    assert math.isnan(log_odds(cases_table([1, 0], [0.1, 0.1]), "ratio"))


def test_held_out_images_show_what_is_noise():
    noise = cases_table(np.arange(300) % 2 == 0, np.random.default_rng(0).random(300))
    assert held_out_auc(noise, ["ratio"]) == pytest.approx(0.5, abs=0.12)
    told = noise.assign(ratio=noise["correct"] * 1.0)
    assert held_out_auc(told, ["ratio"]) == 1
    assert math.isnan(held_out_auc(told[:12], ["ratio"]))


def test_the_bootstrap_draws_whole_images():
    """Copies of a case in the same image add nothing."""
    table = cases_table([1, 0] * 20, np.random.default_rng(1).random(40))
    copies = pd.concat([table] * 5, ignore_index=True)
    once, more = (
        image_bootstrap(t, lambda c: gap(c, "ratio"), resamples=200, seed=0)
        for t in (table, copies)
    )
    assert more[:3] == pytest.approx(once[:3])
    assert (once.n, more.n) == (40, 200)
    assert once.low < once.mean < once.high


def test_a_bootstrap_without_wrong_answers_has_no_interval():
    found = image_bootstrap(cases_table([1, 1], [0, 1]), lambda c: gap(c, "ratio"), seed=0)
    assert all(math.isnan(value) for value in found[:3])


def test_one_image_or_none_has_no_interval():
    """Its own difference is known, that of other images is not."""
    one = cases_table([1, 0], [0.4, 0.1]).assign(image_source="the only one")
    found = image_bootstrap(one, lambda c: gap(c, "ratio"), seed=0)
    assert found.mean == pytest.approx(0.3) and math.isnan(found.low) and math.isnan(found.high)
    none = image_bootstrap(one[:0], lambda c: gap(c, "ratio"), seed=0)
    assert none.n == 0 and all(math.isnan(value) for value in none[:3])
    with pytest.raises(ValueError, match="resamples: expected at least 2, got 1"):
        image_bootstrap(one, lambda c: gap(c, "ratio"), resamples=1, seed=0)


# --- Drawings -------------------------------------------------------------------------------


def toy_case(key=(0, 1, 3)):
    """Four patches of 10 x 10, then a newline that has no patch."""
    patches = [(x, y, 10, 10) for y in (0, 10) for x in (0, 10)]
    region = np.zeros(5, bool)
    region[list(key)] = True
    return Case(Image.new("RGB", (20, 20)), [*patches, None], region)


def toy_edges():
    rows = [(0, 0, 1, 0.3), (0, 2, 2, 0.2), (0, 1, 4, 0.5), (1, 0, 3, 0.1)]
    return pd.DataFrame(rows, columns=["layer", "source", "target", "weight"])


def test_the_outline_goes_around_the_union():
    """An L of three patches has a boundary of eight sides, and inner sides are gone."""
    sides = toy_case().outline()
    assert len(sides) == len(set(sides)) == 8
    assert ((10, 0), (10, 10)) not in sides and ((0, 10), (10, 10)) in sides
    assert len(toy_case(key=(0, 1, 2, 3)).outline()) == 8
    assert toy_case(key=()).outline() == []


def test_tokens_without_a_patch_are_not_drawn():
    case, edges = toy_case(), toy_edges()
    assert len(case.placed(edges)) == 3
    fig, ax = plt.subplots()
    draw_graph(case, edges[edges["layer"] == 0], ax, "layer 0")
    lines, outline = ax.collections
    assert [s.tolist() for s in lines.get_segments()] == [[[5, 5], [15, 5]]]
    assert len(outline.get_segments()) == 8
    assert [line.tolist() for line in ax.lines[0].get_data()] == [[5], [15]]
    plt.close(fig)


def test_small_multiples_have_a_panel_for_each_graph():
    fig = draw_graphs(toy_case(), [(f"layer {i}", toy_edges()) for i in range(4)])
    titles = [ax.get_title() for ax in fig.axes]
    assert titles == ["layer 0", "layer 1", "layer 2", "layer 3", "", ""]
    plt.close(fig)
    with pytest.raises(ValueError, match="graphs: expected at least one, got none"):
        draw_graphs(toy_case(), [])


def test_deep_models_are_drawn_at_layers_even_over_depth():
    assert layers_shown(8) == list(range(8)) and layers_shown(9) == list(range(9))
    shown = layers_shown(30)
    assert len(shown) == len(set(shown)) == 9 and (shown[0], shown[-1]) == (0, 29)
    assert set(np.diff(shown)) == {3, 4}


def test_what_is_explored_is_what_has_a_place():
    graph = explorable(toy_case(key=(3,)), toy_edges(), 2, [0.1, 0.3])
    assert len(graph.centres) == 4 and graph.key.tolist() == [False, False, False, True]
    assert [len(layer) for layer in graph.layers] == [2, 1]


# --- Nothing to show ------------------------------------------------------------------------


class Shown:
    """Stands for a run: keeps the names of what it was given."""

    def __init__(self):
        self.names = []

    def figure(self, fig, name, *, data, alt, caption):
        self.names.append(name)
        plt.close(fig)

    def table(self, table, caption):
        self.names.append(caption)


@pytest.mark.usefixtures("unchecked")
def test_a_sentence_stands_where_there_is_nothing_to_draw(capsys):
    run = Shown()
    opened_before = plt.get_fignums()
    numbers = pd.DataFrame({"mean": [np.nan, 0.5]})
    for name, data in (("some", numbers), ("unknown", numbers[:1]), ("none", numbers[:0])):
        texts = {"alt": "Dots.", "caption": f"What {name} shows."}
        show_figure(run, plt.figure(), name, data=data, value="mean", **texts)
    show_table(run, numbers, "a table")
    show_table(run, numbers[:0], "an empty one")
    assert run.names == ["some", "a table"]
    assert plt.get_fignums() == opened_before
    shown = capsys.readouterr().out
    assert "What unknown shows." in shown and "What none shows." in shown
    assert "an empty one." in shown and "What some shows." not in shown


@pytest.fixture(scope="module")
def unannotated(tmp_path_factory) -> Path:
    """The embedded scenes as if no object in them had a box."""
    path = tmp_path_factory.mktemp("annotations") / "instances.json"
    path.write_text(json.dumps(shipped_annotations() | {"annotations": []}))
    return path


@pytest.mark.parametrize("chapter", ["15_tracing", "16_key_region_ratio"])
def test_a_chapter_without_a_case_runs_to_its_end_and_decides_nothing(
    chapter, unannotated, tmp_path
):
    """The questions are asked and answered, but no object's place is known."""
    [source] = [path for path in NOTEBOOKS if path.stem == chapter]
    jupytext.write(jupytext.read(source), tmp_path / "chapter.ipynb")
    parameters = {"tier": "smoke", "models": "small-llava", "annotations": str(unannotated)}
    papermill.execute_notebook(
        tmp_path / "chapter.ipynb",
        tmp_path / "executed.ipynb",
        parameters=parameters | {"output": str(tmp_path / "generated")},
        kernel_name="python3",
        cwd=ROOT,
        progress_bar=False,
    )
    claims = read_claims(tmp_path / "generated")
    assert len(claims) == len({claim.id for claim in claims}) >= 4
    # Numbers of the paper's own models are beyond the small ones with and without a case.
    assert all(
        claim.verdict == ("needs published weights" if claim.number else "undecided")
        for claim in claims
    )
    assert not any("nan" in str(claim.measured) for claim in claims)
    # Of the paper's captions only the first speaks of one layer only.
    assert {claim.id for claim in claims if "only" in str(claim.paper)} <= {"C062"}


# --- The chapter's point on the order of the prompt -----------------------------------------


def test_the_graph_does_not_know_the_question(questions):
    """Where the image comes before the question, causality keeps the question out."""
    vlm = load("small-qwen2.5-vl")
    sample = questions[0]
    other = replace(
        sample, id="other", prompt="How many digits are red? Answer with a number, then stop."
    )
    edges = trace(vlm, [sample, other], threshold=0.05).edges
    edges = edges.set_index(["layer", "source", "target"])
    mine, others = (edges.loc[edges["sample"] == s.id, "weight"] for s in (sample, other))
    # Padding moves weights by rounding, and some across the threshold.
    weights = pd.concat([mine, others], axis=1).fillna(0.05).to_numpy()
    assert np.abs(weights[:, 0] - weights[:, 1]).max() < 1e-4
    assert len(mine) > 20


def test_a_case_of_a_model_has_a_patch_for_each_token(questions):
    vlm = load("small-qwen2.5-vl")
    region = np.zeros(64, bool)
    case = case_of(vlm, questions[0], region)
    assert len(case.patches) == 64
    assert case.centres()[0].tolist() == [6, 6]
