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
from lost_in_attention.publishing import claims, page, plots, report
from lost_in_attention.publishing.evidence import Model
from lost_in_attention.publishing.scorecard import plain_quantity, write_scorecard

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


def test_scorecard_has_one_row_per_text_claim(tmp_path):
    page = scorecard(tmp_path)
    rows = re.findall(r"^\| \*\*(C\d+)\*\*", page, re.M)
    assert sorted(rows) == list(claims.text_claims()["id"])
    assert page.count(f"{3 * '| not attempted yet '}|  |") == 80
    assert "| not attempted yet | 80 | 80 | 80 |" in page
    assert "Claims decided on both: 0; with different verdicts: 0." in page


def test_scorecard_shows_the_finding_and_where_it_comes_from(tmp_path):
    run = start(tmp_path)
    measured_small(run)
    run.claim("C073", answers=dict.fromkeys(SMALL, False), **CLAIM | {"note": "a|b"})
    run.claim("T1.attention.rid", verdict="needs published weights", **CLAIM)
    page = scorecard(tmp_path)
    row = next(line for line in page.splitlines() if "**C073**" in line)
    assert "0.25 (agreement means: direction; a\\|b; tier book" in row
    assert f"{{doc}}`notebooks/{NOTEBOOK}`" in row
    assert "| different direction | not asked | needs published weights | 0.25 (" in row
    assert "| different direction | 1 | 0 | 0 |" in page and "| not asked | 0 | 1 | 0 |" in page
    assert "| needs published weights | 0 | 0 | 1 |" in page
    cell = next(line for line in page.splitlines() if "**T1.attention.rid**" in line)
    assert "| not asked | not asked | needs published weights |" in cell


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
    row = next(line for line in page.splitlines() if "| **C073**" in line)
    assert "| mixed | same direction | needs published weights | 0.25 (" in row
    assert "Claims decided on both: 3; with different verdicts: 2." in page
    assert re.findall(r"^- (.*)$", page, re.M) == [
        "**C073** attention low RID high MixIG: same direction on a pretrained decoder; "
        "mixed on small models",
        "**T1.attention.rid** s: same direction on a pretrained decoder; "
        "different direction on small models",
    ]


def test_a_proof_stands_in_every_column_and_is_no_difference(tmp_path):
    claim_of_both(tmp_path, True, [False] * 3)
    run = report.start("04_rid", PLAIN | {"output": str(tmp_path)})
    run.claim("C073", verdict="proved", **CLAIM)
    page = scorecard(tmp_path)
    assert "| proved | 1 | 1 | 1 |" in page
    assert "Claims decided on both: 0; with different verdicts: 0." in page
    row = next(line for line in page.splitlines() if "| **C073**" in line)
    assert (
        "| proved<br>04: proved<br>06: different direction "
        "| proved<br>04: proved<br>06: same direction |" in row
    )


def claim_of(notebook, tmp_path, answers, questions=40):
    run = report.start(notebook, PLAIN | {"output": str(tmp_path)})
    measured_small(run, questions=questions)
    run.claim("C073", answers=dict(zip(SMALL, answers, strict=True)), **CLAIM)
    return run.claims[0].verdict


def test_several_chapters_come_to_one_verdict_with_their_own_below(tmp_path):
    """Chapters that are open or asked too little take nothing from a clear answer of another."""
    assert claim_of("06_layerwise_curves", tmp_path, [True, True, True]).startswith("same")
    assert claim_of("10_readings", tmp_path, [True, True, None]) == "undecided"
    assert claim_of("07_modulewise", tmp_path, [False, False, False], questions=6) == "undecided"
    page = scorecard(tmp_path)
    row = next(line for line in page.splitlines() if "**C073**" in line)
    assert (
        "| same direction<br>06: same direction<br>07: undecided<br>10: undecided | not asked "
        "| needs published weights |" in row
    )
    assert "| same direction | 1 | 0 | 0 |" in page and "| undecided | 0 | 0 | 0 |" in page


def test_chapters_that_contradict_each_other_leave_a_model_open(tmp_path):
    claim_of("06_layerwise_curves", tmp_path, [True, True, True])
    claim_of("07_modulewise", tmp_path, [False, True, True])
    assert "| undecided<br>06: same direction" in scorecard(tmp_path)


def test_each_claim_counts_once(tmp_path):
    claim_of("06_layerwise_curves", tmp_path, [True, True, True])
    run = report.start("15_tracing", PLAIN | {"output": str(tmp_path)})
    run.claim("C073", verdict="undecided", **CLAIM)
    run.claim("C062", verdict="undecided", **CLAIM)
    page = scorecard(tmp_path)
    counts = re.findall(r"^\| [a-z ]+ \| (\d+) \| (\d+) \| (\d+) \|$", page, re.M)
    columns = [sum(map(int, column)) for column in zip(*counts, strict=True)]
    assert columns == [len(claims.text_claims())] * 3 == [80] * 3


def test_scorecard_takes_no_smoke_result_as_evidence(tmp_path):
    run = start(tmp_path, "smoke")
    measured_small(run)
    run.claim("C073", answers=dict.fromkeys(SMALL, True), **CLAIM)
    assert run.claims[0].verdict == "same direction on small models"
    page = scorecard(tmp_path)
    assert "| not attempted yet | 80 | 80 | 80 |" in page and "0.25" not in page
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


def test_quantities_are_put_in_words():
    assert plain_quantity("rid_range_max") == "RID range maximum"
    assert plain_quantity("drop_layers_1_to_7_llava15_7b") == "drop layers 1 to 7 LLaVA-1.5 7B"
