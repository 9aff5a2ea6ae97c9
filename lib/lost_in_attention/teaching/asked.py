"""What the exercises of a chapter ask, read from its markdown, and said in plain markdown.

A notebook outside the book knows no MyST: a directive would show as a block of code.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

# The directive with the solution in words, to the fence that closes it.
_WORDS = re.compile(r"^(`{3,})\{solution\}.*?^\1\n?", re.MULTILINE | re.DOTALL)
_EXERCISE = re.compile(
    r"^(`{3,})\{exercise\} ?(?P<title>[^\n]*)\n:label: (?P<label>\S+)\n(?P<body>.*?)^\1$",
    re.MULTILINE | re.DOTALL,
)
_HINT = re.compile(r"^:::\{dropdown\} ([^\n]*)\n(.*?)^:::$", re.MULTILINE | re.DOTALL)
_ROLE = re.compile(r"\{[\w:]+\}`([^`]*)`")
_LEVEL = re.compile(r"\*([\w-]+), \d+ minutes\.\*")
_RUBRIC = re.compile(r"^Rubric \((\d+) points\):", re.MULTILINE)


@dataclass(frozen=True)
class Asked:
    """One exercise: its label, its level (Warm-up, Medium, Hard, Research), and all it says."""

    label: str
    level: str
    text: str

    @property
    def rubric_points(self) -> int | None:
        """What its rubric adds up to, None without one."""
        found = _RUBRIC.search(self.text)
        return int(found[1]) if found else None


def without_solutions(markdown: str) -> str:
    """The text of a cell without the words of solutions, its exercises in plain markdown."""
    left = _EXERCISE.sub(_plain, _WORDS.sub("", markdown))
    return re.sub(r"\n{3,}", "\n\n", left).strip()


def exercises_in(markdown: str) -> Iterator[Asked]:
    """The exercises of a cell, in order.  Raises ValueError for one that says no level."""
    for found in _EXERCISE.finditer(markdown):
        level = _LEVEL.search(found["body"])
        if level is None:
            raise ValueError(f"{found['label']}: expected a level and minutes, got none")
        yield Asked(found["label"], level[1], _plain(found))


def _plain(found: re.Match) -> str:
    """A heading, the text, and hints that stay folded in a notebook."""
    folded = r"<details><summary>\1</summary>\n\n\2\n</details>"
    body = _ROLE.sub(r"\1", _HINT.sub(folded, found["body"].strip()))
    return f"### {found['title'] or 'Exercise'}\n\n{body}\n"
