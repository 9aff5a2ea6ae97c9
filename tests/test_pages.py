"""Pages about the paper: what they name exists, and nothing that should be on them is missing."""

import ast
import inspect
import re
import shlex
from functools import reduce
from importlib import import_module
from typing import Literal, get_args, get_origin, get_type_hints

import pandas as pd
import pytest
import typer

from conftest import NOTEBOOKS, ROOT
from lost_in_attention.__main__ import app
from lost_in_attention.metrics.rank_rules import ExplainedEnergy, NumericalRank
from lost_in_attention.models.registry import paper_variants
from lost_in_attention.publishing import departures, paper_map, report, scorecard_rows
from lost_in_attention.publishing.claims import text_claims
from lost_in_attention.publishing.scorecard import write_scorecard
from lost_in_attention.residual.readings import READINGS
from lost_in_attention.sap.plan import SharedAttentionPrior

COMMANDS = typer.main.get_command(app).commands
MAP = paper_map.paper_map()
DEPARTURES = departures.departures()
FINDINGS, SETTINGS = scorecard_rows.findings(), scorecard_rows.settings()
CHANGE = (ROOT / "book" / "change_our_mind.md").read_text()
RULES = {"NumericalRank": NumericalRank, "ExplainedEnergy": ExplainedEnergy}


def named(dotted: str):
    """What a dotted name without the package's stands for."""
    parts = dotted.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            module = import_module(".".join(["lost_in_attention", *parts[:cut]]))
        except ModuleNotFoundError:
            continue
        return reduce(getattr, parts[cut:], module)
    raise AssertionError(f"no module in {dotted}")


def all_of(column: str) -> list[str]:
    return [each for cell in MAP[column] for each in cell.split()]


# --- The map of the paper -------------------------------------------------------------------


@pytest.mark.parametrize("page", sorted(set(all_of("pages"))))
def test_pages_of_the_map_exist(page):
    folder = ROOT / "notebooks" if page[0].isdigit() else ROOT / "book"
    assert (folder / page).with_suffix(".py" if page[0].isdigit() else ".md").is_file()


def test_every_chapter_is_on_the_map():
    assert {path.stem for path in NOTEBOOKS} <= set(all_of("pages"))


FIGURES = {*all_of("figures"), *FINDINGS["figure"], *SETTINGS["figure"]}


@pytest.mark.parametrize("page", sorted({figure.split("/")[0] for figure in FIGURES}))
def test_figures_that_pages_name_are_drawn(page):
    named_here = {each.split("/")[1] for each in FIGURES if each.startswith(f"{page}/")}
    stored = (ROOT / "notebooks" / f"{page}.ipynb").read_text()
    assert named_here <= set(re.findall(r'download=\\"([a-z0-9_]+)\.csv', stored))


def code_of(row) -> list[str]:
    """The dotted names, or the command, of a row of settings."""
    return [row.code] if row.code.startswith("command ") else row.code.split()


CODE = {*all_of("code"), *DEPARTURES["code"]}
CODE |= {code for row in SETTINGS.itertuples() for code in code_of(row)}


@pytest.mark.parametrize("code", sorted(CODE))
def test_code_that_pages_name_exists_where_they_say(code):
    if code.startswith("command "):
        assert code.removeprefix("command ") in COMMANDS
    else:
        assert named(code).__module__ == f"lost_in_attention.{code.rpartition('.')[0]}"


def test_every_claim_is_on_the_map():
    claims = {claim for claim in all_of("claims") if "*" not in claim}
    assert claims == set(text_claims()["id"])


def test_a_verdict_stands_beside_its_claims_in_one_line(tmp_path):
    page = tmp_path / "paper_map.md"
    paper_map.write_paper_map(tmp_path, page)
    rows = [line for line in page.read_text().splitlines() if line.startswith("| **")]
    assert len(rows) == len(MAP)
    assert sum('<a href="scorecard.html#C068">C068</a>: not asked |' in row for row in rows) == 1
    alike = re.compile("#C044.*#C045.*#C046.*: followed", re.DOTALL)
    assert any(alike.search(row) for row in rows)
    # Measured cells of tables stand there once something is measured.
    assert "T1" not in page.read_text()


def test_the_map_has_the_verdicts_that_were_found(tmp_path):
    names = {"tier": "book", "seed": 0, "output": str(tmp_path)}
    run = report.start("07_modulewise", names, about_models=False)
    said = {"statement": "it is so", "paper": "yes", "measured": "no", "tolerance": "none"}
    run.claim("C068", verdict="contradicted by proof", **said)
    run.claim("T1.ffn.rid", verdict="needs published weights", **said)
    page = tmp_path / "paper_map.md"
    paper_map.write_paper_map(tmp_path, page)
    text = page.read_text()
    assert '<a href="scorecard.html#C068">C068</a>: contradicted by proof |' in text
    cell = '<a href="scorecard.html#T1.ffn.rid">T1.ffn.rid</a>: needs published weights |'
    assert cell in next(line for line in text.splitlines() if line.startswith("| **Table 1**"))
    # The links lead to rows of the scorecard.
    write_scorecard(tmp_path, tmp_path / "scorecard.md")
    rows = (tmp_path / "scorecard.md").read_text()
    targets = set(re.findall(r'scorecard\.html#([^"]+)"', text))
    assert targets == set(re.findall(r'<span id="([^"]+)"></span>', rows))


# --- Departures -----------------------------------------------------------------------------


@pytest.mark.parametrize("row", DEPARTURES.itertuples(), ids=lambda row: row.what)
def test_every_departure_can_be_selected_as_its_row_says(row):
    if row.code.startswith("command "):
        name, value = row.option.split()
        [option] = [each for each in COMMANDS[row.code.split()[1]].params if name in each.opts]
        assert value in option.help
    elif "readings" in row.code:
        assert row.option in READINGS
    elif row.option:
        selects(named(row.code), *row.option.split("=", 1))


def selects(what, name: str, value: str) -> None:
    """Whether a function or a plan takes this value under this name."""
    assert name in inspect.signature(what).parameters
    if value.endswith(")") and value.partition("(")[0] in RULES:
        rule = RULES[value.partition("(")[0]]
        rule(*ast.literal_eval(f"[{value.partition('(')[2][:-1]}]"))
        return
    value = ast.literal_eval(value)
    if what is SharedAttentionPrior:
        given = {"mode": "noise", "layers": (1, 2), "queries": "last"} | {name: value}
        assert getattr(SharedAttentionPrior(**given), name) == value
    elif get_origin(hint := get_type_hints(what)[name]) is Literal:
        assert value in get_args(hint)


def test_the_page_names_the_release_and_its_commits(tmp_path):
    page = tmp_path / "departures.md"
    departures.write_departures(page)
    text = page.read_text()
    for commit in departures.COMMITS:
        assert re.fullmatch("[0-9a-f]{40}", commit)
        assert f"({departures.RELEASE}/tree/{commit})" in text
    assert all(f"## {group}\n" in text for group in DEPARTURES["group"])


# --- The scorecard --------------------------------------------------------------------------


def test_every_text_claim_is_a_finding_or_a_setting_and_once():
    ids = " ".join([*FINDINGS["claims"], *SETTINGS["claims"]]).split()
    assert sorted(each for each in ids if "*" not in each) == sorted(text_claims()["id"])


@pytest.mark.parametrize(
    "row", [*FINDINGS.itertuples(), *SETTINGS.itertuples()], ids=lambda row: row.claims
)
def test_a_row_gives_the_numbers_of_its_claims_and_types_none(row):
    ids = set(row.claims.split())
    numbers = ids & set(text_claims().query("value != 'qualitative'")["id"])
    assert set(re.findall(r"{(C\d+)}", row.says)) == numbers
    assert scorecard_rows.said(row.says).isprintable()


@pytest.mark.parametrize("row", SETTINGS.itertuples(), ids=lambda row: row.claims)
def test_a_setting_says_where_it_is_followed_or_why_not(row):
    assert row.status in scorecard_rows.STATUSES
    if row.departure:
        assert list(DEPARTURES["what"]).count(row.departure) == 1
        assert (row.status, row.code, row.option, row.why) == ("departs", "", "", "")
    else:
        assert row.code and (row.why or row.status == scorecard_rows.FOLLOWED)


@pytest.mark.parametrize(
    "row", SETTINGS[SETTINGS["option"] != ""].itertuples(), ids=lambda row: row.claims
)
def test_the_option_of_a_setting_exists(row):
    if row.code.startswith("command "):
        name, value = row.option.split()
        assert any(name in each.opts for each in COMMANDS[row.code.split()[1]].params)
        assert value.isdigit()
    else:
        selects(named(row.code), *row.option.split("=", 1))


# --- What would change our mind -------------------------------------------------------------


def command_lines(text: str) -> list[list[str]]:
    """The commands of the library in a page's blocks of code, word by word."""
    blocks = re.findall(r"```bash\n(.*?)```", text, re.S)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    words = [shlex.split(line) for line in lines]
    return [each[3:] for each in words if each[1:3] == ["-m", "lost_in_attention"]]


@pytest.mark.parametrize("words", command_lines(CHANGE), ids=lambda words: words[0])
def test_commands_for_published_weights_exist(words):
    command = COMMANDS[words[0]]
    context = command.make_context(words[0], words[1:])
    assert context.params["model"] in {each.hub for each in paper_variants()}


def test_every_claim_that_needs_published_weights_has_an_experiment():
    needs = pd.read_csv(ROOT / "data" / "paper" / "claim_needs.csv")["claims"]
    wanted = {claim for cell in needs for claim in cell.split() if claim.startswith("C")}
    assert wanted <= set(re.findall(r"\bC\d{3}\b", CHANGE))
