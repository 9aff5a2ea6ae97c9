"""The scorecard page: what the paper's running text says, and what was found about it.

The page is made from the claims that the notebooks leave behind (`claims.Claim`) and from the rows
that `scorecard_rows` reads.  What nobody has looked at stays on it, and so do failures.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from lost_in_attention.models.shipped import PRETRAINED, SMALL
from lost_in_attention.publishing.claims import Claim, read_claims, text_claims, words
from lost_in_attention.publishing.departures import departures, selected_by
from lost_in_attention.publishing.evidence import PUBLISHED
from lost_in_attention.publishing.figure_anchors import figure_link
from lost_in_attention.publishing.listed import CANNOT_DECIDE, NOT_ASKED, Listed, listed, short
from lost_in_attention.publishing.main_claims import picture
from lost_in_attention.publishing.myst import documented, plain, table, wide_table
from lost_in_attention.publishing.scorecard_rows import place, said, settings
from lost_in_attention.publishing.verdicts import NEEDS_WEIGHTS, ON, VERDICTS, Verdicts
from lost_in_attention.runs.files import replaced_when_complete

COLUMNS = {SMALL: "Small", PRETRAINED: "Pretrained", PUBLISHED: "Published"}
INTRODUCTION = """# Scorecard

This page is made from the results of the chapters. The {total} numbers and statements in the
running text of the paper {{cite:p}}`tian2026lost` stand in two tables. *Findings* are what a
measurement or a proof decides, the most important first; *settings* are how the paper worked, and
whether this book follows. One rule gives a verdict on each finding for each kind of subject:
*small* models, trained here from scratch; one *pretrained* decoder, whose weights somebody else
published; and the *published* models that the paper is about. A proof holds for all of them.
{{doc}}`reading` explains tiers, verdicts and the rule.
"""
SETTINGS = """## Settings

{doc}`departures` has more of them, each with the paper, its released code and this book side by
side.

"""
CHAPTERS = """## What each chapter found

All chapters that looked at a finding, one a line; the verdicts above are those of all together.

"""


def write_scorecard(results: Path, output: Path) -> None:
    """Write the MyST page `output` from the claims under <results>/claims.

    Results at tier smoke are no evidence: they are counted on the page, but not shown.  Figures
    that lie in `results` are linked to.

    Raises:
        ValueError: a claim file that is malformed or has an unknown id; the message names it.
    """
    results = Path(results)
    found = read_claims(results)
    shown = [claim for claim in found if claim.tier != "smoke"]
    rows = list(listed(shown))
    parts = [
        INTRODUCTION.format(total=len(text_claims())),
        _main_claims(rows),
        _skipped_line(len(found) - len(shown)),
        _findings(rows, results),
        _summary(rows),
        _differences(rows),
        _settings(results),
        _by_chapter(shown),
    ]
    with replaced_when_complete(Path(output)) as part:
        part.write_text("\n".join(filter(None, parts)))


def linked(claim_id: str) -> str:
    """A link from another page to a claim's row."""
    return f'<a href="scorecard.html#{claim_id}">{claim_id}</a>'


def _main_claims(rows: Sequence[Listed]) -> str:
    main = [(row.main, list(map(row.verdict, COLUMNS))) for row in rows if row.main]
    return f"```{{raw}} html\n{picture(list(COLUMNS.values()), main)}\n```\n"


def _skipped_line(count: int) -> str:
    if not count:
        return ""
    return f"Results at tier smoke are no evidence: {count} of them are left out here.\n"


def _findings(rows: Sequence[Listed], results: Path) -> str:
    cells = [
        [
            f"{_named(row.ids)} {plain(row.says)}{_place(row.ids)}",
            *(_verdict(row.verdict(subject)) for subject in COLUMNS),
            f"{plain(row.measured)} {_figure(row.figure, results)}".strip(),
        ]
        for row in rows
    ]
    head = ["The paper says", *COLUMNS.values(), "Measured here"]
    return f"## Findings\n\n{wide_table(head, cells)}"


def _settings(results: Path) -> str:
    cells = [
        [
            f"{_named(ids)} {plain(said(row.says))}{_place(ids)}",
            row.status,
            _where_and_why(row),
            _figure(row.figure, results),
        ]
        for row in settings().itertuples()
        for ids in [row.claims.split()]
    ]
    head = ["The paper says", "This book", "Where, and why", "Seen in"]
    return SETTINGS + wide_table(head, cells)


def _where_and_why(row) -> str:
    """What computes a setting, and what is otherwise; from its row in departures.csv if it has
    one."""
    why = row.why
    if row.departure:
        table = departures()
        [row] = table[table["what"] == row.departure].itertuples()
        why = row.here
    code = selected_by(row) if row.option else ", ".join(map(documented, row.code.split()))
    return "; ".join(filter(None, [code, plain(why)]))


def _summary(rows: Sequence[Listed]) -> str:
    """How many findings have which verdict, for each kind of subject."""
    found = [Counter(row.verdict(subject) for row in rows) for subject in COLUMNS]
    known = dict.fromkeys([*map(short, VERDICTS), CANNOT_DECIDE, NOT_ASKED])
    lines = [[verdict, *(str(each[verdict]) for each in found)] for verdict in known]
    return table(["Findings by verdict", *COLUMNS.values()], lines)


def _differences(rows: Sequence[Listed]) -> str:
    """The findings on which a pretrained decoder and small models come to different verdicts."""
    both = [row for row in rows if _decided_on_both(row.verdicts)]
    lines = [
        f"- {plain(row.says)} ({', '.join(row.ids)}): "
        f"{row.verdicts[PRETRAINED]}; {row.verdicts[SMALL]}"
        for row in both
        if row.verdict(PRETRAINED) != row.verdict(SMALL)
    ]
    count = f"Findings decided on both: {len(both)}; with different verdicts: {len(lines)}."
    return "\n".join(["## Where pretrained and small differ\n", count, "", *lines, ""])


def _decided_on_both(verdicts: Verdicts) -> bool:
    """Whether measurements have decided for a pretrained decoder and for small models."""
    return all(verdicts.get(subject, "").endswith(ON[subject]) for subject in (PRETRAINED, SMALL))


def _by_chapter(claims: Sequence[Claim]) -> str:
    """What each chapter measured, what agreement means there, and its own verdict."""
    if not claims:
        return ""
    cells = [
        [
            f"**{plain(claim.id)}** {plain(claim.statement)}",
            f"{{doc}}`{claim.notebook.split('_')[0]} <notebooks/{claim.notebook}>`, {claim.tier}",
            plain(claim.verdict),
            f"{plain(words(claim.measured))} (agreement means: {plain(words(claim.tolerance))})"
            + (f"; {plain(claim.note)}" if claim.note else ""),
        ]
        for claim in sorted(claims, key=lambda claim: claim.id)
    ]
    head = ["Claim", "Chapter, tier", "Its verdict", "Measured"]
    return CHAPTERS + wide_table(head, cells)


def _named(ids: Sequence[str]) -> str:
    """Claims' ids at the head of their row, where links to them lead (`linked`)."""
    return " ".join(f'**{plain(each)}**<span id="{each}"></span>' for each in ids)


def _place(ids: Sequence[str]) -> str:
    """The sections of the paper, behind what stands there; a cell's id says where it is."""
    return f", {place(ids)}" if ids[0].startswith("C") else ""


def _verdict(verdict: str) -> str:
    """A verdict with a link to the runs that would settle it, if it needs them."""
    return f"{{doc}}`{verdict} <change_our_mind>`" if verdict == NEEDS_WEIGHTS else verdict


def _figure(figure: str, results: Path) -> str:
    """A link to the figure if these results have it."""
    if not (results / figure).with_suffix(".json").exists():
        return ""
    chapter, name = figure.split("/")
    return figure_link(figure, f"{chapter.split('_')[0]}, figure {name.replace('_', ' ')}")
