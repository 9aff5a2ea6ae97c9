"""What the paper prints, from data/paper: no notebook types a number of the paper again.

published("table2_sap")           # a table, row by row
claimed("C012")                   # a number of the running text
table1().loc["attention", "rid"]
"""

import pandas as pd

from lost_in_attention.publishing.claims import text_claims
from lost_in_attention.runs.paths import data_folder


def published(name: str) -> pd.DataFrame:
    """A table of the paper as the file data/paper/<name>.csv has it.

    Raises ValueError where there is no such file.
    """
    files = {path.stem: path for path in sorted((data_folder() / "paper").glob("*.csv"))}
    if name not in files:
        raise ValueError(f"name: expected one of {list(files)}, got {name!r}")
    return pd.read_csv(files[name])


def claimed(claim_id: str) -> float:
    """The number of a claim of the running text, in the unit that the paper gives it.

    Raises ValueError on an unknown id, and on a claim that is no number.
    """
    values = text_claims().set_index("id")["value"]
    if claim_id not in values:
        raise ValueError(f"claim_id: expected one of C001 to {values.index[-1]}, got {claim_id!r}")
    try:
        return float(values[claim_id])
    except ValueError as error:
        raise ValueError(
            f"claim_id: expected a claim with one number, got {claim_id} ({values[claim_id]!r})"
        ) from error


def table1() -> pd.DataFrame:
    """Table 1: columns rid and mixig of noise_delta, noise_qkv, attention and ffn."""
    return published("table1_modules").set_index("module").rename(index={"feed_forward": "ffn"})


def table1_words(first: str, second: str, between: str) -> str:
    """RID and MixIG of two rows of Table 1 side by side, as a claim quotes them."""
    rows = table1().loc[[first, second]]
    pairs = {"RID": rows["rid"], "MixIG": rows["mixig"]}
    return ", ".join(f"{name} {a:.2f} {between} {b:.2f}" for name, (a, b) in pairs.items())
