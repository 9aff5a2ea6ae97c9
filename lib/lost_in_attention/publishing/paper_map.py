"""The map of the paper: where each of its parts is in this book, and what was found about it.

data/paper/paper_map.csv has a row for each section, equation, figure and table that defines or
claims something: place, holds (what), and, parted by blanks, pages, figures (page/name), code
(dotted names without the package's) and claims (ids; T1.* stands for the measured cells).
"""

from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

import pandas as pd

from lost_in_attention.publishing.claims import Claim, read_claims
from lost_in_attention.publishing.myst import documented, plain, wide_table
from lost_in_attention.publishing.scorecard import NOT_ATTEMPTED, linked, verdicts_on
from lost_in_attention.publishing.verdicts import in_words
from lost_in_attention.runs.files import replaced_when_complete
from lost_in_attention.runs.paths import data_folder

HEAD = ["The paper", "Page", "Figure here", "Code", "Verdict"]
INTRODUCTION = """# Map of the paper

Every section, equation, figure and table of the paper {cite:p}`tian2026lost` that defines or claims
something: the page that is about it, the figure that stands beside the paper's, the functions that
compute it, and the {term}`verdicts <verdict>` on its claims, each with a link to its row of the
{doc}`scorecard`. What is not listed (Section 2, Appendix B) places the paper among others. Where
the book and the released code read a definition otherwise than the text, {doc}`departures` says so.
"""


def paper_map() -> pd.DataFrame:
    """The rows of data/paper/paper_map.csv, in the paper's order."""
    path = data_folder() / "paper" / "paper_map.csv"
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def write_paper_map(results: Path, output: Path) -> None:
    """Write the MyST page `output`, with verdicts from the claims under <results>/claims.

    Results at tier smoke are no evidence and left out.

    Raises ValueError as `read_claims` does.
    """
    claims = [claim for claim in read_claims(Path(results)) if claim.tier != "smoke"]
    rows = [_row(part, claims) for part in paper_map().itertuples()]
    with replaced_when_complete(Path(output)) as made:
        made.write_text(f"{INTRODUCTION}\n{wide_table(HEAD, rows)}")


def page_link(page: str, text: str) -> str:
    """A link to a page of the book by its name; chapters, which begin with a number, too."""
    path = f"notebooks/{page}" if page[0].isdigit() else page
    return f"{{doc}}`{text} <{path}>`"


def _row(part, claims: Sequence[Claim]) -> list[str]:
    figures = (figure.split("/") for figure in part.figures.split())
    place = f"§{part.place}" if part.place[0].isdigit() else part.place
    return [
        f"**{plain(place)}** {plain(part.holds)}",
        "<br>".join(page_link(page, page.replace("_", " ")) for page in part.pages.split()),
        "<br>".join(page_link(page, name) for page, name in figures),
        "<br>".join(map(documented, part.code.split())),
        "<br>".join(_verdicts(part.claims.split(), claims)),
    ]


def _verdicts(patterns: Sequence[str], claims: Sequence[Claim]) -> list[str]:
    """The claims of a part, those with one verdict in one line."""
    found: dict[str, list[str]] = {}
    for claim_id in _ids(patterns, claims):
        own = [claim for claim in claims if claim.id == claim_id]
        verdict = in_words(verdicts_on(own)) if own else NOT_ATTEMPTED
        found.setdefault(verdict, []).append(linked(claim_id))
    return [f"{', '.join(ids)}: {plain(verdict)}" for verdict, ids in found.items()]


def _ids(patterns: Sequence[str], claims: Sequence[Claim]) -> list[str]:
    """Text claims as they are named, measured cells of tables by their pattern."""
    cells = sorted({claim.id for claim in claims if claim.id.startswith("T")})
    ids = []
    for pattern in patterns:
        ids += [cell for cell in cells if fnmatch(cell, pattern)] if "*" in pattern else [pattern]
    return ids
