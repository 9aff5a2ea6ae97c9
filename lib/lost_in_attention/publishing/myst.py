"""Pieces of the generated pages: tables, and text that MyST shows as it is."""

import re
from collections.abc import Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in MyST, a line a row."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def wide_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table that the page's style lets scroll sideways, so that a phone can show it."""
    return f"```{{table}}\n:class: scorecard\n\n{table(head, rows)}```\n"


def plain(text: str) -> str:
    """Text that MyST shows as it is, on one line."""
    return re.sub(r"([\\`*_{}\[\]<>|$])", r"\\\1", " ".join(text.split()))


def documented(name: str) -> str:
    """A link to what the library's pages say of `name`, a dotted name without the package's.

    It shows the last part alone: tables that are read on phones have no room for more.
    """
    return f"{{py:obj}}`{name.rpartition('.')[2]} <lost_in_attention.{name}>`"
