"""The numbers of a text, in figures and in words; what cannot be told is None, never a guess."""

import re

from lost_in_attention.benchmarks.answers import final, normalised

_ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen",
)  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_NUMBER_WORDS = {word: value for value, word in enumerate(_ONES)} | {
    word: 10 * value for value, word in enumerate(_TENS, start=2)
}
_FIGURES = r"(?:\d+(?:,\d{3}(?!\d))*(?:\.\d+)?|\.\d+)(?:e[+-]?\d+(?!\w))?"
_WORDS = rf"\b(?:(?:{'|'.join(_TENS)})(?:[ -](?:{'|'.join(_ONES[1:10])}))?|{'|'.join(_ONES)})\b"
_NUMBER = re.compile(
    rf"(?P<minus>(?<!\w)-|\b(?:minus|negative) )?(?:(?P<figures>{_FIGURES})|(?P<words>{_WORDS}))"
)
_SCALES = re.compile(r"\b(?:hundred|thousand|million|billion)s?\b")
# Figures behind a letter belong to a unit or a name ("cm2", "m^3", "x_1"); "1e3" and "3x4" do not.
_GLUED = re.compile(r"(?!(?<=\d)(?:e[+-]?\d|x\d))[^\W\d_]+(?:[\^_]\{-?\d+\}|[\^_]?-?\d[\d.]*)")
# "One" that stands for somebody or something.
_PRONOUN = re.compile(
    r"\b(?:no|any|some|every|each|this|that|which|another|other|the(?: \w+)?)[ -]one\b"
    r"|\bone (?:can|could|may|might|must|should|sees|would)\b"
)
_ORDINAL = re.compile(r"\b\d+(?:st|nd|rd|th)\b")
# A minus apart from its figures, where it can be no dash between two things.
_LOOSE_MINUS = re.compile(r"(^|[:=(] ?|\bis )- (?=[\d.])")


def number(reply: str) -> float | None:
    """The number in a reply, in figures or words; after the last "=" where there is one.

    Two different numbers are None.
    """
    found = set(numbers(final(reply).rpartition("=")[2]))
    return found.pop() if len(found) == 1 else None


def numbers(text: str) -> list[float]:
    """All numbers of a text, in figures ("1,000", "1e3") and in words below one hundred.

    Exponents of units ("cm2"), ordinals ("2nd") and the pronoun ("no one") are none.  None are
    found in a text with larger number words: "two hundred" is not 2.
    """
    text = _ORDINAL.sub(" ", _PRONOUN.sub(" ", normalised(text)))
    text = _LOOSE_MINUS.sub(r"\1-", text)
    if _SCALES.search(text):
        return []
    return [_value(match) for match in _NUMBER.finditer(_GLUED.sub(" ", text))]


def exact_number(text: str) -> float | None:
    """The number that a text is, and nothing else beside it."""
    whole = _NUMBER.fullmatch(normalised(text))
    return _value(whole) if whole else None


def written(value: float) -> str:
    """A number in figures, without a needless ".0" or a minus before zero."""
    return f"{value + 0.0:.12g}"


def _value(number: re.Match) -> float:
    if number["figures"]:
        value = float(number["figures"].replace(",", ""))
    else:
        value = float(sum(_NUMBER_WORDS[word] for word in re.findall("[a-z]+", number["words"])))
    return -value if number["minus"] else value
