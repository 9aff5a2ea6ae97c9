"""The map of the paper: where each of its parts is in this book, and what was found about it.

data/paper/paper_map.csv has a row for each section, equation, figure and table that defines or
claims something: place, holds (what), and, parted by blanks, pages, figures (page/name), code
(dotted names without the package's) and claims (ids; T1.* stands for the measured cells).
"""

import fnmatch
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from lost_in_attention.publishing.claims import read_claims
from lost_in_attention.publishing.figure_anchors import figure_link
from lost_in_attention.publishing.listed import listed
from lost_in_attention.publishing.myst import documented, plain, wide_table
from lost_in_attention.publishing.scorecard import linked
from lost_in_attention.publishing.scorecard_rows import settings
from lost_in_attention.runs.files import replaced_when_complete
from lost_in_attention.runs.paths import data_folder

HEAD = ["The paper", "Page", "Figure here", "Code", "Verdict"]
INTRODUCTION = """# Map of the paper

Every section, equation, figure and table of the paper {cite:p}`tian2026lost` that defines or claims
something: the page that is about it, the figure that stands beside the paper's, the functions that
compute it, and the {term}`verdicts <verdict>` on its claims, or whether the setting is followed,
each with a link to its row of the {doc}`scorecard`. What is not listed (Section 2, Appendix B)
places the paper among others. Where the book and the released code read a definition otherwise than
the text, {doc}`departures` says so.
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
    standing = {each: row.status for row in settings().itertuples() for each in row.claims.split()}
    standing |= {each: row.standing for row in listed(claims) for each in row.ids}
    rows = [_row(part, standing) for part in paper_map().itertuples()]
    with replaced_when_complete(Path(output)) as made:
        made.write_text(f"{INTRODUCTION}\n{wide_table(HEAD, rows)}")


def page_link(page: str, text: str) -> str:
    """A link to a page of the book by its name; chapters, which begin with a number, too."""
    path = f"notebooks/{page}" if page[0].isdigit() else page
    return f"{{doc}}`{text} <{path}>`"


def _row(part, standing: Mapping[str, str]) -> list[str]:
    place = f"§{part.place}" if part.place[0].isdigit() else part.place
    figures = part.figures.split()
    return [
        f"**{plain(place)}** {plain(part.holds)}",
        "<br>".join(page_link(page, page.replace("_", " ")) for page in part.pages.split()),
        "<br>".join(figure_link(figure, figure.split("/")[1]) for figure in figures),
        "<br>".join(map(documented, part.code.split())),
        "<br>".join(_standing(part.claims.split(), standing)),
    ]


def _standing(patterns: Sequence[str], standing: Mapping[str, str]) -> list[str]:
    """The claims of a part, those with one verdict or status in one line.

    Cells of tables are those that were measured.
    """
    found: dict[str, list[str]] = {}
    for pattern in patterns:
        for claim_id in sorted(fnmatch.filter(standing, pattern)):
            found.setdefault(standing[claim_id], []).append(linked(claim_id))
    return [f"{', '.join(ids)}: {plain(words)}" for words, ids in found.items()]
