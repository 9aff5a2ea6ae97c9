"""Figures keep their data and provenance, claims keep the rules, the scorecard tells all."""

import matplotlib

matplotlib.use("Agg")

import base64
import getpass
import json
import platform
import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from lost_in_attention.benchmarks import load_benchmark
from lost_in_attention.publishing import (
    claims,
    figure_anchors,
    page,
    plots,
    report,
    scorecard_rows,
)
from lost_in_attention.publishing.evidence import Model
from lost_in_attention.publishing.scorecard import write_scorecard

NOTEBOOK = "06_layerwise_curves"
CLAIM = {"statement": "s", "paper": "low", "measured": 0.25, "tolerance": "direction"}
PLAIN = {"tier": "book", "seed": 0, "model": "small-llava"}
DATA = pd.DataFrame({"x": [1, 2], "y": [0.5, 0.25]})


@pytest.fixture
def shown(monkeypatch):
    """What the notebook would display, in order."""
    pages = []
    monkeypatch.setattr(page, "display", lambda content, raw: pages.append(content["text/html"]))
    return pages


SMALL = ("small-llava", "small-llava-next", "small-qwen2.5-vl")


def measured_small(run, models=SMALL, questions=40):
    """As if these of the repository's models had been asked."""
    run.evidence.stored(models)
    run.asked("pope", load_benchmark("pope").draw(questions, seed=0))


def start(tmp_path, tier="book", **parameters):
    names = PLAIN | {"tier": tier, "seed": 3, "output": str(tmp_path), "questions": 8}
    return report.start(NOTEBOOK, names | parameters)


def simple_figure(points=3):
    fig, ax = plt.subplots()
    ax.plot(np.arange(points), np.random.default_rng(0).normal(size=points))
    return fig


def test_figure_keeps_data_and_provenance_beside_it(tmp_path, shown):
    run = start(tmp_path)
    fig = simple_figure()
    run.figure(fig, "curve", data=DATA, alt='falls < "0.5"', caption="A & B")
    folder = tmp_path / NOTEBOOK
    assert {p.name for p in folder.iterdir()} == {
        f"curve.{s}" for s in ("png", "svg", "csv", "json")
    }
    pd.testing.assert_frame_equal(pd.read_csv(folder / "curve.csv"), DATA)
    assert json.loads((folder / "curve.json").read_text()).items() >= run.provenance.items()
    assert not plt.fignum_exists(fig.number)
    (page,) = shown
    assert 'alt="falls &lt; &quot;0.5&quot;"' in page and "A &amp; B" in page
    assert page.count("<figure") == page.count("<img") == 1
    links = re.findall(r'href="data:[\w/]+;base64,([^"]+)" download="([^"]+)"', page)
    assert [name for _, name in links] == ["curve.csv", "curve.json"]
    for content, name in links:
        assert base64.b64decode(content) == (folder / name).read_bytes()


def test_large_drawing_is_shown_as_png_and_an_old_svg_goes(tmp_path, shown, monkeypatch):
    run = start(tmp_path)
    run.figure(simple_figure(), "curve", data=DATA, alt="a", caption="c")
    monkeypatch.setattr(report, "SVG_LIMIT", 10)
    run.figure(simple_figure(), "curve", data=DATA, alt="a", caption="c")
    assert "data:image/svg+xml" in shown[0] and "data:image/png" in shown[1]
    assert not (tmp_path / NOTEBOOK / "curve.svg").exists()


def test_equal_numbers_give_an_equal_svg(tmp_path, shown):
    run = start(tmp_path)
    for name in ("one", "two"):
        run.figure(simple_figure(), name, data=DATA, alt="a", caption="c")
    one, two = ((tmp_path / NOTEBOOK / f"{name}.svg").read_bytes() for name in ("one", "two"))
    assert one == two


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alt": " "}, "alt of figure 'curve': expected words, got ' '"),
        ({"caption": ""}, "caption of figure"),
        ({"data": DATA[:0]}, "data of figure .* expected the numbers drawn"),
        ({"name": "../x"}, "name: expected lower_case"),
    ],
)
def test_incomplete_figure_writes_nothing(tmp_path, changes, message):
    settings = {"name": "curve", "data": DATA, "alt": "a", "caption": "c"} | changes
    with pytest.raises(ValueError, match=message):
        start(tmp_path).figure(simple_figure(), **settings)
    assert not list(tmp_path.iterdir())


def test_provenance_reruns_the_notebook_and_names_no_machine(tmp_path):
    (tmp_path / "my model").mkdir()
    run = start(tmp_path, model=str(tmp_path / "my model"), source="a b")
    assert run.provenance["command"] == (
        f"papermill notebooks/{NOTEBOOK}.ipynb {NOTEBOOK}.ipynb --cwd . -p tier book -p seed 3 "
        "-p model 'my model' -p questions 8 -p source 'a b'"
    )
    text = json.dumps(run.provenance)
    assert str(tmp_path) not in text and platform.node() not in text
    assert not re.search(rf"\b{re.escape(getpass.getuser())}\b", text)
    assert set(run.provenance["versions"]) >= {"python", "torch", "transformers", "numpy"}
    assert run.provenance["date"].endswith("+00:00")


@pytest.mark.usefixtures("unchecked")
def test_start_refuses_what_it_cannot_keep(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="tier: expected one of smoke, book, paper, got 'gpu'"):
        start(tmp_path, tier="gpu")
    with pytest.raises(ValueError, match="notebook: expected lower_case"):
        report.start("../06", PLAIN | {"output": str(tmp_path)})
    cell = 'tier = "book"\nseed = 3\nmodel = "m"\noutput = "made"\nlayers = [1]\n'
    monkeypatch.setattr(report, "executed_cells", lambda: [cell])
    with pytest.raises(ValueError, match="parameter layers: expected a scalar, got list"):
        start(tmp_path, layers=[1])


def test_start_needs_the_parameters_that_every_notebook_has(tmp_path):
    with pytest.raises(
        ValueError, match=r"parameters: expected \['output', 'seed'\] too, got \['t"
    ):
        report.start(NOTEBOOK, {"tier": "book", "model": "m"})
    with pytest.raises(ValueError, match=r"expected \['model'\] too"):
        report.start(NOTEBOOK, {"tier": "book", "seed": 0, "output": str(tmp_path)})


def test_a_notebook_about_no_model_says_so(tmp_path):
    names = {"tier": "book", "seed": 0, "output": str(tmp_path)}
    run = report.start(NOTEBOOK, names, about_models=False)
    assert run.models == []
    assert run.provenance["command"].endswith("--cwd . -p tier book -p seed 0")


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("seed", [-1, True, 1.0, "1", None])
def test_a_seed_is_a_whole_number(tmp_path, seed):
    with pytest.raises(ValueError, match=f"seed: expected a whole number, 0 or more, got {seed!r}"):
        start(tmp_path, seed=seed)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", ["tier", "model", "models", "output"])
@pytest.mark.parametrize("value", [None, 3, True, "", " "])
def test_what_is_text_is_refused_otherwise(tmp_path, name, value):
    with pytest.raises(ValueError, match=f"{name}: expected text, got {value!r}"):
        start(tmp_path, **{name: value})


@pytest.mark.parametrize("name", ["model", "models"])
def test_an_unknown_model_is_refused_before_it_is_loaded(tmp_path, name):
    with pytest.raises(FileNotFoundError, match="name: expected one of .*, got 'small-lava'"):
        start(tmp_path, **{name: "small-lava"})


def test_a_run_knows_its_models_and_how_much_to_ask(tmp_path):
    assert start(tmp_path).models == ["small-llava"]
    several = {"tier": "smoke", "seed": 0, "models": ", ".join(SMALL), "output": str(tmp_path)}
    run = report.start(NOTEBOOK, several)
    assert run.models == list(SMALL)
    assert run.provenance["model"] == ", ".join(SMALL)
    assert run.provenance["parameters"] == {"models": ", ".join(SMALL)}
    assert run.count(60, smoke=8) == 8
    assert start(tmp_path, "paper").count(60, smoke=8) == 60
    dtypes = [start(tmp_path, tier).dtype for tier in ("smoke", "book", "paper")]
    assert dtypes == [torch.float32, torch.float32, torch.bfloat16]


def test_the_models_of_a_run_are_recorded_as_they_are_loaded(tmp_path):
    several = {"tier": "smoke", "seed": 0, "models": ", ".join(SMALL[:2]), "output": str(tmp_path)}
    run = report.start(NOTEBOOK, several)
    for name, vlm in run.each_model():
        assert vlm.name == name == list(run.evidence.models)[-1]
    assert list(run.evidence.models) == run.models


def test_a_new_run_drops_the_claims_of_the_last_one_of_the_same_notebook(tmp_path):
    run = start(tmp_path)
    run.claim("C073", verdict="undecided", **CLAIM)
    other = report.start("01_residual_stream", PLAIN | {"output": str(tmp_path)})
    other.claim("C016", verdict="undecided", **CLAIM)
    start(tmp_path)
    assert [claim.id for claim in claims.read_claims(tmp_path)] == ["C016"]


def test_claim_survives_the_file(tmp_path):
    run = start(tmp_path)
    run.claim("C073", verdict="undecided", **CLAIM | {"measured": np.float32(0.25)})
    run.claim("T1.attention.rid", verdict="needs published weights", **CLAIM)
    assert claims.read_claims(tmp_path) == run.claims
    assert run.claims[0].measured == 0.25


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("claim_id", "verdict", "tier", "changes", "message"),
    [
        ("C999", "undecided", "book", {}, "claim_id: .* text_claims.csv, C001 to C080, got 'C999'"),
        (
            "attention",
            "undecided",
            "book",
            {},
            "claim_id: .* like C072 or T1.attention.rid",
        ),
        ("C073", "true", "book", {}, "verdict of C073: expected one of .* without answers"),
        (
            "C073",
            "same direction on small models",
            "book",
            {},
            "one of .* without answers, got",
        ),
        ("C073", "reproduced at tier paper", "paper", {}, "one of .* without answers, got"),
        (
            "C073",
            "not reproduced at tier paper",
            "paper",
            {},
            "one of .* without answers, got",
        ),
        ("C073", "undecided", "book", {"answers": {}}, "answers or a verdict, got both"),
        ("C073", None, "book", {}, "claim C073: expected answers or a verdict, got neither"),
        ("C073", None, "book", {"answers": {"m": "yes"}}, "expected yes, no or None from m"),
        ("C073", "undecided", "book", {"measured": float("nan")}, "finite number"),
        ("C073", "undecided", "book", {"tolerance": ""}, "tolerance of C073: expected words"),
    ],
)
def test_claim_rules(tmp_path, claim_id, verdict, tier, changes, message):
    with pytest.raises(ValueError, match=message):
        start(tmp_path, tier).claim(claim_id, verdict=verdict, **CLAIM | changes)
    assert not list(tmp_path.rglob("*.json"))


def test_one_notebook_gives_one_verdict_to_a_claim(tmp_path):
    run = start(tmp_path)
    run.claim("C073", verdict="undecided", **CLAIM)
    with pytest.raises(ValueError, match="C073: expected one verdict in a notebook"):
        run.claim("C073", verdict="proved", **CLAIM)


def test_a_pivoted_table_has_no_blank_column(tmp_path, shown):
    long = pd.DataFrame({"model": ["a", "a"], "quantity": ["rid", "mixig"], "mean": [1, 2]})
    start(tmp_path).table(long.pivot(index="model", columns="quantity")["mean"], "Means")
    assert re.findall("<th.*?</th>", shown[0]) == [
        '<th scope="col">mixig</th>',
        '<th scope="col">rid</th>',
    ]


def test_claims_table_says_which_models_were_measured(tmp_path, shown):
    run = start(tmp_path)
    with pytest.raises(ValueError, match="claims: expected at least one"):
        run.claims_table()
    run.claim("C073", verdict="undecided", **CLAIM | {"statement": "a < b"})
    run.claims_table()
    (page,) = shown
    headings = re.findall(r'<th scope="col">([^<]+)</th>', page)
    assert headings[:3] == ["claim", "the paper says", "small models show"]
    for kinds, heading in [
        (["small"], "small models show"),
        (["pretrained"], "a pretrained decoder shows"),
        (["small", "pretrained"], "a pretrained decoder and small models show"),
        (["small", None], "the models show"),
    ]:
        run.evidence.models.clear()
        run.evidence.models.update({str(kind): Model(None, kind) for kind in kinds})
        run.claims_table()
        assert f'<th scope="col">{heading}</th>' in shown[-1]
    assert "a &lt; b (low)" in page and "<caption>Claims at tier book</caption>" in page


def test_alt_text_says_what_the_curves_do():
    means = {"attention": [0.125, 0.5, 0.25], "ffn": [1.0, 1.5, 2.0]}
    table = pd.DataFrame(
        {"layer": layer, "module": module, "quantity": "rid", "mean": mean, "low": 0, "high": 2}
        for module, values in means.items()
        for layer, mean in enumerate(values)
    )
    assert report.alt_layer_curves(table, "rid") == (
        "Line chart of RID (0 to 2) by layer. "
        "attention: 0.125 at layer 0, 0.25 at layer 2, lowest 0.125 at layer 0, "
        "highest 0.5 at layer 1. "
        "FFN: 1 at layer 0, 2 at layer 2, lowest 1 at layer 0, highest 2 at layer 2."
    )
    assert set(plots.MODULES) == set(means)


def scorecard(tmp_path):
    page = tmp_path / "scorecard.md"
    write_scorecard(tmp_path, page)
    return page.read_text()


def row_of(page, claim_id):
    """The row of the scorecard that holds a claim, as one line."""
    return next(line for line in page.splitlines() if f'<span id="{claim_id}"></span>' in line)


def test_scorecard_has_a_row_for_every_text_claim_and_none_is_forgotten(tmp_path):
    page = scorecard(tmp_path)
    named = re.findall(r'\*\*(C\d+)\*\*<span id="\1">', page)
    assert sorted(named) == list(claims.text_claims()["id"])
    assert "not attempted" not in page
    # A measurement decides the first, a proof alone the second.
    needs = "| not asked | not asked | {doc}`needs published weights <change_our_mind>` |  |"
    assert needs in row_of(page, "C073")
    assert "| not asked | not asked | not asked |  |" in row_of(page, "C068")
    assert "| followed | " in row_of(page, "C044")
    assert "Findings decided on both: 0; with different verdicts: 0." in page


def test_a_number_of_the_papers_models_is_not_decided_on_others(tmp_path):
    run = start(tmp_path)
    measured_small(run)
    run.claim("T1.ffn.rid", answers={"mean over models": False}, number=True, **CLAIM)
    page = scorecard(tmp_path)
    needs = "{doc}`needs published weights <change_our_mind>`"
    assert f"| cannot decide | cannot decide | {needs} | 0.25" in row_of(page, "T1.ffn.rid")
    assert "| cannot decide | 1 | 1 | 0 |" in page


def test_scorecard_shows_the_finding_and_where_it_comes_from(tmp_path):
    run = start(tmp_path)
    measured_small(run)
    run.claim("C073", answers=dict.fromkeys(SMALL, False), **CLAIM | {"note": "a|b"})
    run.claim("T1.attention.rid", verdict="needs published weights", **CLAIM)
    page = scorecard(tmp_path)
    needs = "{doc}`needs published weights <change_our_mind>`"
    assert (
        f"| different direction | not asked | {needs} | 0.25 (agreement means: direction) |"
        in row_of(page, "C073")
    )
    assert "| different direction | 1 | 0 | 0 |" in page
    assert f"| not asked | not asked | {needs} |" in row_of(page, "T1.attention.rid")
    own = next(line for line in page.splitlines() if line.startswith("| **C073** s"))
    assert f"{{doc}}`06 <notebooks/{NOTEBOOK}>`, book | different direction on small models" in own
    assert "0.25 (agreement means: direction); a\\|b |" in own


def test_every_row_of_the_scorecard_links_to_its_figure(tmp_path):
    run = start(tmp_path)
    run.claim("T1.attention.rid", verdict="needs published weights", **CLAIM)
    assert "figure-" not in scorecard(tmp_path)
    tables = (scorecard_rows.findings(), scorecard_rows.settings())
    figures = {figure for table in tables for figure in table["figure"]}
    for figure in figures:
        path = (tmp_path / figure).with_suffix(".json")
        path.parent.mkdir(exist_ok=True)
        path.write_text("{}")
    rows = [line for line in scorecard(tmp_path).splitlines() if "<span id=" in line]
    link = re.compile(
        r'<a href="notebooks/(\w+)\.html#figure-(\w+)">\d\d, figure [a-z0-9 ]+</a> \|$'
    )
    found = [link.search(row) for row in rows]
    assert all(found)
    assert {"/".join(each.groups()) for each in found} == figures


def test_a_figure_has_the_anchor_that_links_to_it_lead_to(tmp_path, shown):
    run = start(tmp_path)
    run.figure(simple_figure(), "one_two", data=DATA, alt="a", caption="c")
    html = figure_anchors.anchored(shown[0])
    assert html == shown[0].replace("<figure ", '<figure id="figure-one_two" ', 1)
    target = f'notebooks/{NOTEBOOK}.html#figure-one_two"'
    assert target in figure_anchors.figure_link(f"{NOTEBOOK}/one_two", "it")
    assert figure_anchors.anchored("<p>no figure</p>") == "<p>no figure</p>"


def test_the_main_claims_stand_on_top_as_a_picture(tmp_path):
    claim_of_both(tmp_path, False, [True] * 3, "C072", "08_rope_tolerance")
    page = scorecard(tmp_path)
    picture = page[page.index("<figure") : page.index("</figure>")]
    assert page.index("</figure>") < page.index("## Findings") and "<script" not in picture
    [alt] = re.findall('role="img" aria-label="([^"]+)"', picture)
    said = "Small same direction, Pretrained different direction, Published needs published weights"
    assert f"tolerance: {said}." in alt
    main = scorecard_rows.findings()["main"]
    assert alt.count("Pretrained") == len(main[main != ""]) == 6
    # A mark that is no colour alone for each verdict, and the verdict in words.
    assert picture.count("M-4 0L-1 3L4 -3") == 1 and picture.count("M-3 -3L3 3M3 -3L-3 3") == 1
    assert picture.count("stroke-dasharray") == 6
    assert picture.count(">same</text>") == picture.count(">different</text>") == 1


def claim_of_both(tmp_path, pretrained, small, claim_id="C073", notebook=NOTEBOOK):
    """One chapter's answers of a stand-in for the pretrained model and of small ones."""
    run = report.start(notebook, PLAIN | {"output": str(tmp_path)})
    measured_small(run)
    run.evidence.models["smollm2-pictures"] = Model(None, "pretrained")
    answers = dict(zip(SMALL, small, strict=True)) | {"smollm2-pictures": pretrained}
    run.claim(claim_id, answers=answers, **CLAIM)
    return run


def test_scorecard_says_where_pretrained_and_small_differ(tmp_path):
    claim_of_both(tmp_path, True, [True, False, None])
    claim_of_both(tmp_path, False, [False] * 3, "T1.ffn.rid", "07_modulewise")
    claim_of_both(tmp_path, True, [False] * 3, "T1.attention.rid", "08_rope_tolerance")
    claim_of_both(tmp_path, None, [False] * 3, "C072", "10_readings")
    page = scorecard(tmp_path)
    assert "| mixed | same direction | {doc}`needs" in row_of(page, "C073")
    assert "Findings decided on both: 3; with different verdicts: 2." in page
    assert re.findall(r"^- (.*)$", page, re.M) == [
        "Attention has low RID and high MixIG, the FFN the reverse, in every model (C073): "
        "same direction on a pretrained decoder; mixed on small models",
        "s: low (T1.attention.rid): same direction on a pretrained decoder; "
        "different direction on small models",
    ]


def test_a_proof_stands_in_every_column_and_is_no_difference(tmp_path):
    claim_of_both(tmp_path, True, [False] * 3)
    run = report.start("04_rid", PLAIN | {"output": str(tmp_path)})
    run.claim("C073", verdict="proved", **CLAIM)
    page = scorecard(tmp_path)
    assert "| proved | 1 | 1 | 1 |" in page
    assert "Findings decided on both: 0; with different verdicts: 0." in page
    assert "| proved | proved | proved | 0.25 (" in row_of(page, "C073")


def claim_of(notebook, tmp_path, answers, questions=40):
    run = report.start(notebook, PLAIN | {"output": str(tmp_path)})
    measured_small(run, questions=questions)
    run.claim("C073", answers=dict(zip(SMALL, answers, strict=True)), **CLAIM)
    return run.claims[0].verdict


def test_several_chapters_come_to_one_verdict_with_their_own_at_the_end(tmp_path):
    """Chapters that are open or asked too little take nothing from a clear answer of another."""
    assert claim_of("06_layerwise_curves", tmp_path, [True, True, True]).startswith("same")
    assert claim_of("10_readings", tmp_path, [True, True, None]) == "undecided"
    assert claim_of("07_modulewise", tmp_path, [False, False, False], questions=6) == "undecided"
    page = scorecard(tmp_path)
    assert "| same direction | not asked | {doc}`needs" in row_of(page, "C073")
    own = re.findall(r"^\| \*\*C073\*\* s \| {doc}`(\d\d) .*, book \| ([a-z ]+) \|", page, re.M)
    undecided = [("07", "undecided"), ("10", "undecided")]
    assert own == [("06", "same direction on small models"), *undecided]
    assert "| same direction | 1 | 0 | 0 |" in page and "| undecided | 0 | 0 | 0 |" in page


def test_chapters_that_contradict_each_other_leave_a_model_open(tmp_path):
    claim_of("06_layerwise_curves", tmp_path, [True, True, True])
    claim_of("07_modulewise", tmp_path, [False, True, True])
    assert "| undecided | not asked |" in row_of(scorecard(tmp_path), "C073")


def test_claims_that_are_one_finding_come_to_one_verdict(tmp_path):
    """Parts of a statement: where a model says yes to one and no to another, it stays open."""
    claim_of_both(tmp_path, True, [True] * 3, "C079", "13_sap_where")
    assert "| same direction | same direction |" in row_of(scorecard(tmp_path), "C055")
    claim_of_both(tmp_path, False, [True] * 3, "C055", "18_audit")
    page = scorecard(tmp_path)
    assert row_of(page, "C055") == row_of(page, "C079")
    assert "| same direction | undecided |" in row_of(page, "C079")


def test_each_finding_counts_once(tmp_path):
    claim_of("06_layerwise_curves", tmp_path, [True, True, True])
    run = report.start("15_tracing", PLAIN | {"output": str(tmp_path)})
    run.claim("C073", verdict="undecided", **CLAIM)
    run.claim("C062", verdict="undecided", **CLAIM)
    page = scorecard(tmp_path)
    counts = re.findall(r"^\| [a-z ]+ \| (\d+) \| (\d+) \| (\d+) \|$", page, re.M)
    columns = [sum(map(int, column)) for column in zip(*counts, strict=True)]
    assert columns == [(scorecard_rows.findings()["says"] != "").sum()] * 3


def test_scorecard_takes_no_smoke_result_as_evidence(tmp_path):
    run = start(tmp_path, "smoke")
    measured_small(run)
    run.claim("C073", answers=dict.fromkeys(SMALL, True), **CLAIM)
    assert run.claims[0].verdict == "same direction on small models"
    page = scorecard(tmp_path)
    assert "| not asked | not asked | {doc}`needs" in row_of(page, "C073") and "0.25" not in page
    assert "Results at tier smoke are no evidence: 1 of them" in page


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda text: text[:-10],
            "results: expected a claim in 06_layerwise_curves.C073.json",
        ),
        (lambda text: text.replace('"C073"', '"C999"'), "C073.json: claim_id: .* got 'C999'"),
        (
            lambda text: text.replace('"measured"', '"found"'),
            r"C073.json: keys: .* \['measured'\] missing, \['found'\] unknown",
        ),
        (lambda text: "[]", "C073.json: expected an object, got list"),
        (lambda text: text.replace('"book"', '"home"'), "C073.json: tier of C073"),
    ],
)
def test_scorecard_names_a_bad_file(tmp_path, change, message):
    start(tmp_path).claim("C073", verdict="undecided", **CLAIM)
    path = tmp_path / "claims" / f"{NOTEBOOK}.C073.json"
    path.write_text(change(path.read_text()))
    with pytest.raises(ValueError, match=message):
        scorecard(tmp_path)
    assert not (tmp_path / "scorecard.md").exists()
