"""The page on departures: what the paper says, what its released code does, what this book does.

data/paper/departures.csv has a row for each difference: group, what, paper, release, here, code (a
dotted name without the package's, or "command" and its name) and option, by which the other
variant is selected: an argument with its value, an option of the command, or the name of a reading.
"""

from pathlib import Path

import pandas as pd

from lost_in_attention.publishing.myst import documented, plain, wide_table
from lost_in_attention.runs.files import replaced_when_complete
from lost_in_attention.runs.paths import data_folder

RELEASE = "https://github.com/Lrbomchz/vlms_lost_in_attn"
# What the commits hold that were read.
COMMITS = {
    "de61633d8a12a2627d591f98f92ab2a4bc670375": "the models and scripts",
    "075b4532d9695ed6117f4a4815a98c667abf1908": "the helper functions",
}
HEAD = ["What", "Paper", "Released code", "This book", "Selected by"]
INTRODUCTION = """# Departures

The authors publish code for replaced attention, [vlms_lost_in_attn]({release}); RID and MixIG are
announced there, and helper functions for them are in it. Text and code differ in places, and both
leave things open. This book follows the text unless a row says otherwise, and keeps the other
variant under a name, so that {{doc}}`notebooks/10_readings` and {{doc}}`notebooks/12_sap` can show
both. The code was read at these commits: {commits}.

Neither is wrong for differing: a paper cannot hold every line of its code. But whoever repeats a
number has to know which of the two it came from, and the paper does not say. Prompts, and how
replies are read, have departures of their own, from the benchmarks' scripts:
{{py:obj}}`departures <lost_in_attention.benchmarks.departures>`.
"""


def departures() -> pd.DataFrame:
    """The rows of data/paper/departures.csv."""
    path = data_folder() / "paper" / "departures.csv"
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def write_departures(output: Path) -> None:
    """Write the MyST page `output`, a table a group."""
    commits = ", ".join(
        f"[`{commit[:8]}`]({RELEASE}/tree/{commit}) ({what})" for commit, what in COMMITS.items()
    )
    parts = [INTRODUCTION.format(release=RELEASE, commits=commits)]
    for group, rows in departures().groupby("group", sort=False):
        table = wide_table(HEAD, [_row(row) for row in rows.itertuples()])
        parts.append(f"## {group}\n\n{table}")
    with replaced_when_complete(Path(output)) as made:
        made.write_text("\n".join(parts))


def _row(row) -> list[str]:
    return [
        f"**{plain(row.what)}**",
        *map(plain, (row.paper, row.release, row.here)),
        selected_by(row),
    ]


def selected_by(row) -> str:
    """A row's code and option, as a reader writes them."""
    kind, _, command = row.code.partition(" ")
    if kind == "command":
        return f"`{command} {row.option}`"
    if not row.option:
        return documented(row.code)
    return f"{documented(row.code)}: `{row.option}`"
