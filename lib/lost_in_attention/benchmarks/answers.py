"""What a reply says: yes or no, a letter, a number.  What cannot be told is None, never a guess."""

import re
from collections.abc import Iterable, Mapping

_TAG = re.compile(r"<answer>(.*?)</answer>", re.DOTALL | re.IGNORECASE)
# Small letters count only where nothing else can be meant: "a" is an article elsewhere.
_WHOLE_LETTER = re.compile(
    r"(?:(?:(?!not\b)\w+ )*(?:answer|option|choice)(?: is|:)*\s*)?\(?([A-Z])\)?[.:]?",
    re.IGNORECASE,
)
_LETTERS = (
    re.compile(r"\(([A-Z])\)"),
    re.compile(r"^([A-Z])[).:](?=\s)"),
    re.compile(r"\b(?:[Aa]nswer|[Oo]ption|[Cc]hoice)(?: is|:)*\s*\(?([A-Z])\)?(?![A-Za-z'])"),
    # A and I are words of their own: they count as letters only before a stop, an end or a word
    # that follows no article.
    re.compile(r"(?<![A-Za-z'])([B-HJ-Z])(?![A-Za-z'])"),
    re.compile(
        r"(?<![A-Za-z'])([AI])(?=\s*[.,:;)*}\]/&]|$|\s+(?:is|or|and|nor|not|but|because|since)\b)",
        re.MULTILINE,
    ),
)
_ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen",
)  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_NUMBER_WORDS = {word: value for value, word in enumerate(_ONES)} | {
    word: 10 * value for value, word in enumerate(_TENS, start=2)
}
_FIGURES = r"(?:(?<!\w)-)?(?:\d+(?:,\d{3}(?!\d))*(?:\.\d+)?|\.\d+)"
_WORDS = rf"\b(?:(?:{'|'.join(_TENS)})(?:[ -](?:{'|'.join(_ONES[1:10])}))?|{'|'.join(_ONES)})\b"
_NUMBER = re.compile(f"{_FIGURES}|{_WORDS}")
_SCALES = re.compile(r"\b(?:hundred|thousand|million|billion)s?\b")


def final(reply: str) -> str:
    """What stands in the last <answer> tag, or the whole reply."""
    tagged = _TAG.findall(reply)
    return (tagged[-1] if tagged else reply).strip()


def normalised(text: str) -> str:
    """Lower case, single spaces, the minus that keyboards have, no stop at the end."""
    return " ".join(text.lower().replace("\N{MINUS SIGN}", "-").split()).rstrip(" .")


def yes_no(reply: str) -> str | None:
    """ "yes" or "no" if the reply holds exactly one of these words."""
    words = set(re.findall(r"[a-z]+", final(reply).lower())) & {"yes", "no"}
    return words.pop() if len(words) == 1 else None


def letter(reply: str, options: Mapping[str, str]) -> str | None:
    """The letter of an option: as a letter in any usual form, or by the option's full text.

    Two different letters, or the texts of two options, are None; a text inside a longer
    option's text is not that option's.
    """
    text = final(reply)
    whole = _WHOLE_LETTER.fullmatch(text)
    if whole and whole[1].upper() in options:
        return whole[1].upper()
    exact = [name for name, option in options.items() if normalised(option) == normalised(text)]
    if len(exact) == 1:
        return exact[0]
    # Letters may stand in an option's own words ("point A").
    bare = _whole_words(option for option in options.values() if len(option) > 1).sub(" ", text)
    found = {name for pattern in _LETTERS for name in pattern.findall(bare)} & set(options)
    if not found:
        texts = set(_whole_words(options.values()).findall(normalised(text)))
        found = {name for name, option in options.items() if normalised(option) in texts}
    return found.pop() if len(found) == 1 else None


def number(reply: str) -> float | None:
    """The number in a reply, in figures or words; after the last "=" where there is one.

    Two different numbers are None.
    """
    found = set(numbers(final(reply).rpartition("=")[2]))
    return found.pop() if len(found) == 1 else None


def numbers(text: str) -> list[float]:
    """All numbers of a text, in figures ("1,000") and in words below one hundred.

    None are found in a text with larger number words: "two hundred" is not 2.
    """
    text = normalised(text)
    if _SCALES.search(text):
        return []
    return [_value(match[0]) for match in _NUMBER.finditer(text)]


def exact_number(text: str) -> float | None:
    """The number that a text is, and nothing else beside it."""
    whole = _NUMBER.fullmatch(normalised(text))
    return _value(whole[0]) if whole else None


def written(value: float) -> str:
    """A number in figures, without a needless ".0"."""
    return f"{value:.12g}"


def mentions(text: str, words: str) -> bool:
    """Whether `words` stand in `text` as whole words."""
    return _whole_words([words]).search(normalised(text)) is not None


def _value(number: str) -> float:
    words = re.findall("[a-z]+", number)
    if words:
        return float(sum(_NUMBER_WORDS[word] for word in words))
    return float(number.replace(",", ""))


def _whole_words(texts: Iterable[str]) -> re.Pattern:
    """Finds any of the texts, the longest first, but none inside a word or a number."""
    known = sorted(filter(None, map(normalised, texts)), key=len, reverse=True)
    anyone = "|".join(map(re.escape, known)) or "(?!)"
    return re.compile(rf"(?<![\w-])(?<!\d[.,])(?:{anyone})(?!\w|[.,]\d)", re.IGNORECASE)
