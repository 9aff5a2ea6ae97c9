"""The scorecard page: every claim in the paper's running text, and what was found about it.

The page is made from the claims that the notebooks leave behind (`claims.Claim`) and from
data/paper/text_claims.csv.  Claims that no notebook attempted stay on it, and so do failures.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from lost_in_attention.models.shipped import PRETRAINED, SMALL
from lost_in_attention.publishing.claims import Claim, read_claims, text_claims, words
from lost_in_attention.publishing.evidence import PUBLISHED
from lost_in_attention.publishing.myst import plain, table, wide_table
from lost_in_attention.publishing.verdicts import ON, VERDICTS, Verdicts, decide
from lost_in_attention.runs.files import replaced_when_complete

NOT_ATTEMPTED, NOT_ASKED = "not attempted yet", "not asked"
COLUMNS = {SMALL: "Small", PRETRAINED: "Pretrained", PUBLISHED: "Published"}
# Headings of the page in the paper's order, and the sections that each gathers.
HEADINGS = {
    "Abstract": ["Abstract"],
    "Section 1, Introduction": ["1"],
    "Section 3.3.1, External information": ["3.3.1"],
    "Section 3.3.2, Reconfiguration": ["3.3.2"],
    "Section 4.1, Setup": ["4.1"],
    "Section 4.2 and Figure 2, Attention and FFN": ["4.2", "Fig 2"],
    "Section 4.3 and Table 2, Shared attention priors": ["4.3", "Table 2"],
    "Section 5, Conclusion": ["5"],
    "Appendix C, Details": ["C.1", "C.2", "C.3"],
    "Appendix D, Further results": ["D", "D.1", "D.2"],
    "Appendix E and Figures 5 to 10, Tracing": ["E", *(f"Fig {n}" for n in range(5, 11))],
    "Appendix F, Proofs": ["F"],
}
# The short names of text_claims.csv, as a reader knows them.
SPELLING = {
    "rid": "RID", "mixig": "MixIG", "tme": "TME", "erank": "eRank", "ffn": "FFN", "sap": "SAP",
    "lvlm": "vision-language model", "eps": "tolerance", "rope": "RoPE", "tau": "edge threshold",
    "min": "minimum", "max": "maximum", "qwen25vl": "Qwen2.5-VL", "llava15": "LLaVA-1.5",
    "ov": "OneVision", "llava": "LLaVA", "3b": "3B", "7b": "7B", "pope": "POPE", "mmmu": "MMMU",
    "3dsrbench": "3DSRBench", "realworldqa": "RealWorldQA", "vmcbench": "VMCBench",
    "mathvista": "MathVista", "hallusionbench": "HallusionBench", "delta": "change of",
}  # fmt: skip
INTRODUCTION = """# Scorecard

This page is made from the results of the chapters. It lists the {total} numbers and statements
that stand in the running text of the paper {{cite:p}}`tian2026lost`, also those that nobody has
looked at here yet. One rule gives a verdict for each kind of subject: *small* models, trained here
from scratch; one *pretrained* decoder, whose weights somebody else published; and the *published*
models that the paper is about. A proof holds for all of them. Where chapters come to different
verdicts, each stands below the one of all. {{doc}}`reading` explains tiers, verdicts and the rule.
"""


def write_scorecard(results: Path, output: Path) -> None:
    """Write the MyST page `output` from the claims under <results>/claims.

    Results at tier smoke are no evidence: they are counted on the page, but not shown.

    Raises:
        ValueError: a claim file that is malformed or has an unknown id; the message names it.
    """
    found = read_claims(Path(results))
    shown = [claim for claim in found if claim.tier != "smoke"]
    paper = text_claims()
    parts = [
        INTRODUCTION.format(total=len(paper)),
        _summary(paper, shown),
        _skipped_line(len(found) - len(shown)),
        _differences(paper, shown),
        *_sections(paper, shown),
        _table_cells(shown),
    ]
    with replaced_when_complete(Path(output)) as part:
        part.write_text("\n".join(filter(None, parts)))


def _summary(paper: pd.DataFrame, claims: Sequence[Claim]) -> str:
    """How many text claims have which verdict, for each kind of subject."""
    about = [_about(claim_id, claims) for claim_id in paper["id"]]
    found = [Counter(_shown(each, subject) for each in about) for subject in COLUMNS]
    known = dict.fromkeys(map(_short, VERDICTS)) | dict.fromkeys((NOT_ASKED, NOT_ATTEMPTED))
    rows = [[verdict, *(str(each[verdict]) for each in found)] for verdict in known]
    return table(["Claims by verdict", *COLUMNS.values()], rows)


def _differences(paper: pd.DataFrame, claims: Sequence[Claim]) -> str:
    """The claims on which a pretrained decoder and small models come to different verdicts."""
    names = dict(zip(paper["id"], map(plain_quantity, paper["quantity"]), strict=True))
    names |= {claim.id: claim.statement for claim in claims if claim.id not in names}
    found = {claim_id: verdicts_on(_about(claim_id, claims)) for claim_id in names}
    both = {claim_id: each for claim_id, each in found.items() if _decided_on_both(each)}
    lines = [
        f"- **{plain(claim_id)}** {plain(names[claim_id])}: {each[PRETRAINED]}; {each[SMALL]}"
        for claim_id, each in both.items()
        if _short(each[PRETRAINED]) != _short(each[SMALL])
    ]
    count = f"Claims decided on both: {len(both)}; with different verdicts: {len(lines)}."
    return "\n".join(["## Where pretrained and small differ\n", count, "", *lines, ""])


def _decided_on_both(verdicts: Verdicts) -> bool:
    """Whether measurements have decided for a pretrained decoder and for small models."""
    return all(verdicts.get(subject, "").endswith(ON[subject]) for subject in (PRETRAINED, SMALL))


def _skipped_line(count: int) -> str:
    if not count:
        return ""
    return (
        f"Results at tier smoke are no evidence: {count} of them are left out here, "
        f'and their claims read "{NOT_ATTEMPTED}".\n'
    )


def _sections(paper: pd.DataFrame, claims: Sequence[Claim]) -> list[str]:
    listed = {section for sections in HEADINGS.values() for section in sections}
    if unlisted := sorted(set(paper["section"]) - listed):
        raise ValueError(f"text_claims.csv: expected sections in HEADINGS, got {unlisted}")
    parts = []
    for heading, sections in HEADINGS.items():
        rows = [
            [_says(row), *_findings(_about(row.id, claims))]
            for row in paper[paper["section"].isin(sections)].itertuples()
        ]
        parts.append(f"## {heading}\n\n" + _claims_table(rows))
    return parts


def _table_cells(claims: Sequence[Claim]) -> str:
    """Cells of the paper's tables that a notebook measured."""
    cells = sorted({claim.id for claim in claims if claim.id.startswith("T")})
    if not cells:
        return ""
    rows = []
    for cell in cells:
        same = _about(cell, claims)
        says = f"{_named(cell)} {plain(same[0].statement)}: {plain(words(same[0].paper))}"
        rows.append([says, *_findings(same)])
    return "## Cells of the paper's tables\n\n" + _claims_table(rows)


def _says(row) -> str:
    """What the paper says: id, section, quantity, value and unit, and the reader's note."""
    value = "" if row.value == "qualitative" else f": {row.value} {row.unit}".rstrip()
    note = f" ({row.note})" if row.note else ""
    section = row.section if " " in row.section or row.section == "Abstract" else f"§{row.section}"
    return f"{_named(row.id)} {plain(plain_quantity(row.quantity) + value + note)}, {section}"


def _named(claim_id: str) -> str:
    """A claim's id at the head of its row, where links to it lead (`linked`)."""
    return f'**{plain(claim_id)}**<span id="{claim_id}"></span>'


def linked(claim_id: str) -> str:
    """A link from another page to a claim's row."""
    return f'<a href="scorecard.html#{claim_id}">{claim_id}</a>'


def plain_quantity(quantity: str) -> str:
    """A quantity's short name in words: `rid_range_max` is "RID range maximum"."""
    return " ".join(SPELLING.get(word, word) for word in quantity.split("_"))


def _findings(claims: Sequence[Claim]) -> list[str]:
    """The cells of one claim: the verdict for each kind of subject, and what was measured."""
    measured = [
        f"{plain(words(claim.measured))} (agreement means: {plain(words(claim.tolerance))}; "
        + (f"{plain(claim.note)}; " if claim.note else "")
        + f"tier {claim.tier}, {{doc}}`notebooks/{claim.notebook}`)"
        for claim in claims
    ]
    verdicts = ["<br>".join(_verdict_lines(claims, subject)) for subject in COLUMNS]
    return [*verdicts, "<br>".join(measured)]


def verdicts_on(claims: Sequence[Claim]) -> Verdicts:
    """The verdicts on one claim, from all chapters that looked at it; none if none did."""
    return decide([claim.finding for claim in claims]) if claims else {}


def _verdict_lines(claims: Sequence[Claim], subject: str) -> Iterator[str]:
    """The verdict for one kind of subject; below it the chapters', if they are not all the same."""
    yield _shown(claims, subject)
    own = {c.notebook.split("_")[0]: c.verdicts[subject] for c in claims if subject in c.verdicts}
    if len(set(own.values())) > 1:
        yield from (f"{chapter}: {_short(verdict)}" for chapter, verdict in own.items())


def _shown(claims: Sequence[Claim], subject: str) -> str:
    """The verdict on one claim as the column of a kind of subject has it."""
    if not claims:
        return NOT_ATTEMPTED
    return _short(verdicts_on(claims).get(subject, NOT_ASKED))


def _short(verdict: str) -> str:
    """A verdict without what the heading of its column says."""
    for subject in ON.values():
        verdict = verdict.removesuffix(f" {subject}")
    return verdict


def _about(claim_id: str, claims: Sequence[Claim]) -> list[Claim]:
    return [claim for claim in claims if claim.id == claim_id]


def _claims_table(rows: Sequence[Sequence[str]]) -> str:
    return wide_table(["The paper says", *COLUMNS.values(), "Measured here"], rows)
