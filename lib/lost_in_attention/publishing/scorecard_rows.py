"""What stands on the scorecard: findings, which a measurement or a proof decides, and settings.

data/paper/findings.csv has a row for each finding, the most important first: claims (ids, parted by
blanks; T1.* stands for the measured cells of a table), says, main (a few words, if it is one of the
main claims of the abstract) and figure (chapter/name).

data/paper/settings.csv has a row for each setting: claims, says, status (one of `STATUSES`),
departure (the row of departures.csv that says how), or code (dotted names without the package's, or
"command" and its name), option and why; and figure.

In says {C012} stands for the value of that claim in text_claims.csv.  Every text claim is in one
row.
"""

import re
from collections.abc import Sequence

import pandas as pd

from lost_in_attention.publishing.claims import text_claims
from lost_in_attention.runs.paths import data_folder

FOLLOWED = "followed"
STATUSES = (FOLLOWED, "departs", "cannot be followed")


def findings() -> pd.DataFrame:
    """The rows of data/paper/findings.csv."""
    return _rows("findings")


def settings() -> pd.DataFrame:
    """The rows of data/paper/settings.csv."""
    return _rows("settings")


def said(says: str) -> str:
    """What the paper says, with its own values in their places."""
    claims = text_claims()
    return says.format_map(dict(zip(claims["id"], map(_value, claims["value"]), strict=True)))


def place(ids: Sequence[str]) -> str:
    """Where in the paper text claims stand: its sections and figures, each once."""
    sections = text_claims().set_index("id").loc[list(ids), "section"]
    return ", ".join(map(_section, dict.fromkeys(sections)))


def _rows(name: str) -> pd.DataFrame:
    path = data_folder() / "paper" / f"{name}.csv"
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def _value(value: str) -> str:
    """A value as a sentence has it: "1-27" is "1 to 27"."""
    return re.sub(r"(\d)-(\d)", r"\1 to \2", value).replace(";", ", ")


def _section(section: str) -> str:
    """A section as a reader knows it; figures, tables and the abstract have their names."""
    if section[0].isdigit():
        return f"§{section}"
    return f"Appendix {section}" if re.fullmatch(r"[A-F](\.\d)?", section) else section
