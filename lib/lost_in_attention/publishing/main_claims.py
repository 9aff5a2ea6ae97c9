"""The picture at the top of the scorecard: the main claims, and a mark for every kind of subject.

It is an SVG in the page: its text takes the colour of the page, light or dark, and its width of 360
units is that of a phone.  Every mark has a shape of its own, and the verdict in words below it.
"""

import textwrap
from collections.abc import Sequence
from html import escape

from lost_in_attention.publishing.listed import CANNOT_DECIDE, NOT_ASKED
from lost_in_attention.publishing.plots import ATTENTION, FFN
from lost_in_attention.publishing.verdicts import DISPROVED, NEEDS_WEIGHTS, PROVED, UNDECIDED

_WIDTH, _HEAD, _ROW = 360, 26, 66
_CLAIM, _LETTERS = 19, 11
# Where each column has its middle.
_COLUMNS = (165, 243, 321)
_STROKE = 'fill="none" stroke="currentColor" stroke-width="1.5"'
_WHITE = 'fill="none" stroke="white" stroke-width="2"'
_YES = f'<circle r="8" fill="{ATTENTION}"/><path d="M-4 0L-1 3L4 -3" {_WHITE}/>'
_NO = f'<circle r="8" fill="{FFN}"/><path d="M-3 -3L3 3M3 -3L-3 3" {_WHITE}/>'
_MIXED = f'<path d="M0 -8A8 8 0 0 0 0 8Z" fill="currentColor"/><circle r="8" {_STROKE}/>'
_OPEN = f'<circle r="8" {_STROKE}/><text y="4">?</text>'
_WEIGHTS = f'<circle r="8" stroke-dasharray="3 2" {_STROKE}/>'
_NOTHING = f'<path d="M-5 0H5" {_STROKE}/>'
_MARKS = {
    PROVED: _YES, "same direction": _YES, "reproduced": _YES,
    DISPROVED: _NO, "different direction": _NO, "not reproduced": _NO,
    "mixed": _MIXED, UNDECIDED: _OPEN, NEEDS_WEIGHTS: _WEIGHTS, NOT_ASKED: _NOTHING,
    CANNOT_DECIDE: _NOTHING,
}  # fmt: skip
CAPTION = (
    "The main claims of the abstract. Filled with a tick: in agreement; filled with a cross: "
    "against; half filled: mixed; with a question mark: undecided; dashed: needs published "
    "weights; a line: not asked, or cannot decide."
)


def picture(columns: Sequence[str], claims: Sequence[tuple[str, Sequence[str]]]) -> str:
    """The figure in HTML: a row for each claim, in few words, with a verdict for every column."""
    height = _HEAD + _ROW * len(claims)
    head = [
        f'<text x="{x}" y="16">{each}</text>' for x, each in zip(_COLUMNS, columns, strict=True)
    ]
    rows = [_row(_HEAD + _ROW * number, *each) for number, each in enumerate(claims)]
    alt = " ".join(
        f"{claim}: {', '.join(map(' '.join, zip(columns, verdicts, strict=True)))}."
        for claim, verdicts in claims
    )
    return (
        f'<figure style="margin:1em 0;max-width:34rem"><svg viewBox="0 0 {_WIDTH} {height}" '
        'width="100%" font-size="12" text-anchor="middle" fill="currentColor" role="img" '
        f'aria-label="{escape(alt)}">{"".join(head + rows)}</svg>'
        f"<figcaption>{CAPTION}</figcaption></figure>"
    )


def _row(top: int, claim: str, verdicts: Sequence[str]) -> str:
    cells = [_cell(x, top, verdict) for x, verdict in zip(_COLUMNS, verdicts, strict=True)]
    line = f'<path d="M0 {top}H{_WIDTH}" stroke="currentColor" stroke-opacity="0.3"/>'
    words = _lines(claim, _CLAIM, 0, top + 18)
    return f'{line}<g text-anchor="start">{words}</g>{"".join(cells)}'


def _cell(x: int, top: int, verdict: str) -> str:
    mark = f'<g transform="translate({x} {top + 14})">{_MARKS[verdict]}</g>'
    return mark + _lines(verdict, _LETTERS, x, top + 35)


def _lines(text: str, letters: int, x: int, y: int) -> str:
    """Words on as many lines as they need; y is the first one's."""
    lines = textwrap.wrap(text, letters, break_long_words=False)
    return "".join(
        f'<text x="{x}" y="{y + 13 * number}">{escape(line)}</text>'
        for number, line in enumerate(lines)
    )
