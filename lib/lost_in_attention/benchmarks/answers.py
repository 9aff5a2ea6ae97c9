"""What a reply says: yes or no, a letter, a number.  What cannot be told is None, never a guess."""

import re
from collections.abc import Iterable, Mapping

_TAG = re.compile(r"<answer>(.*?)</answer>", re.DOTALL | re.IGNORECASE)
_WHOLE_LETTER = re.compile(r"\(?([A-Za-z])\)?[.:]?")
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
    """Lower case, single spaces, no stop at the end."""
    return " ".join(text.lower().split()).rstrip(" .")


def yes_no(reply: str) -> str | None:
    """ "yes" or "no" if the reply holds exactly one of these words."""
    words = set(re.findall(r"[a-z]+", final(reply).lower())) & {"yes", "no"}
    return words.pop() if len(words) == 1 else None


def letter(reply: str, options: Mapping[str, str]) -> str | None:
    """The letter of an option: as a letter in any usual form, or by the option's full text.

    Two different letters, or the texts of two options, are None.
    """
    text = final(reply)
    whole = _WHOLE_LETTER.fullmatch(text)
    if whole and whole[1].upper() in options:
        return whole[1].upper()
    exact = [name for name, option in options.items() if normalised(option) == normalised(text)]
    if len(exact) == 1:
        return exact[0]
    bare = _without(text, options.values())
    found = {name for pattern in _LETTERS for name in pattern.findall(bare)} & set(options)
    if not found:
        found = {name for name, option in options.items() if mentions(text, option)}
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
    text = text.lower()
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
    wanted = re.escape(normalised(words))
    return bool(wanted) and re.search(rf"(?<!\w){wanted}(?!\w)", normalised(text)) is not None


def _value(number: str) -> float:
    words = re.findall("[a-z]+", number)
    if words:
        return float(sum(_NUMBER_WORDS[word] for word in words))
    return float(number.replace(",", ""))


def _without(text: str, options: Iterable[str]) -> str:
    """`text` less the options' own words, among which letters may stand ("point A")."""
    words = sorted((option for option in options if len(option) > 1), key=len, reverse=True)
    if not words:
        return text
    anyone = "|".join(map(re.escape, words))
    return re.sub(rf"(?<!\w)(?:{anyone})(?!\w)", " ", text, flags=re.IGNORECASE)
