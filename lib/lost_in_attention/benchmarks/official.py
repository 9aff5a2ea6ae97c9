"""The rules by which the benchmarks' own scripts read a reply, to be asked for by name.

They always find an answer, with two exceptions here: where the scripts draw a letter at random
the reply stays unparsed, and of a reply with an <answer> tag the tag is read, as Appendix C.2 of
the paper does for models that reason.
"""

import re
from collections.abc import Mapping, Sequence

from lost_in_attention.benchmarks.answers import final

_STOPS = (",", ".", "!", "?", ";", ":", "'")
_BRACKETS = "({})"
_INDICATORS = ("could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result ")
_NUMBERS = (
    re.compile(r"-?\b\d{1,3}(?:,\d{3})+\b"),
    re.compile(r"-?\d+(?:\.\d+)?[eE][+-]?\d+"),
    re.compile(r"-?(?:\d+\.\d+|\.\d+|\d+\b)(?![eE][+-]?\d+)(?![,\d])"),
)
# A reply of more words may name an option by its text.
_SHORT = 5


def first_sentence(reply: str) -> str:
    """ "no" if "no" or "not" stands before the first stop, else "yes" (POPE, evaluate.py)."""
    words = final(reply).split(".")[0].replace(",", "").split(" ")
    return "no" if {"No", "not", "no"} & set(words) else "yes"


def last_letter(
    reply: str, options: Mapping[str, str], listed: Sequence[str] = (_BRACKETS,)
) -> str | None:
    """The letter that stands last: in one of the forms `listed`, else alone, else by its text.

    (MMMU, eval_utils.parse_multi_choice_response; VMCBench adds the form "A. ", whose place its
    script does not look up.)
    """
    said = final(reply)
    for stop in _STOPS:
        said = said.strip(stop)
    said = f" {said} "
    for forms in (listed, (" {} ",)):
        found = [name for name in options if any(form.format(name) in said for form in forms)]
        if found:
            return max(found, key=lambda name: said.rfind(forms[0].format(name)))
    small = said.lower()
    found = [name for name, text in options.items() if text.lower() in small]
    if found and len(said.split()) > _SHORT:
        return max(found, key=lambda name: small.rfind(options[name].lower()))
    return None


def open_answers(reply: str) -> set[str | float]:
    """What an open reply may mean (MMMU, eval_utils.parse_open_response)."""
    said = final(reply).strip().strip(".").lower()
    lines = said.split("\n")
    tails = [_tail(line, last=place == len(lines) - 1) for place, line in enumerate(lines)]
    parts = [tail for tail in tails if tail and tail not in _STOPS] or [said]
    numbers = [found for part in parts for form in _NUMBERS for found in form.findall(part)]
    return {value for part in [*parts, *numbers] for value in comparable(part)}


def accepts(found: set[str | float], gold: str) -> bool:
    """Whether a text of `found` holds a form of the gold answer or a number is it (eval_open)."""
    forms = comparable(gold)
    texts = [value for value in found if isinstance(value, str)]
    inside = any(form in text for text in texts for form in forms if isinstance(form, str))
    return inside or any(value in forms for value in found if isinstance(value, float))


def comparable(text: str) -> list[str | float]:
    """A number to two decimals; or small letters, one alone with a blank beside it."""
    text = text.strip()
    try:
        return [round(float(text.replace(",", "")), 2)]
    except ValueError:
        small = text.lower()
        return [f" {small}", f"{small} "] if len(small) == 1 else [small]


def _tail(line: str, *, last: bool) -> str:
    """The shortest text behind a word that announces an answer; "=" only in the last line."""
    signs = (*_INDICATORS, "=") if last else _INDICATORS
    tails = [line.split(sign)[-1].strip() for sign in signs if sign in line]
    return min(tails, key=len, default="")
