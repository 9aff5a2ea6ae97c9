"""What a reply says: yes or no, a letter.  What cannot be told is None, never a guess."""

import re
from collections.abc import Iterable, Mapping

_THOUGHT = re.compile(r"^.*</think>", re.DOTALL | re.IGNORECASE)
_OPEN_THOUGHT = re.compile(r"<think>", re.IGNORECASE)
_TAG = re.compile(r"<answer>(.*?)(?:</answer>|\Z)", re.DOTALL | re.IGNORECASE)
_CLOSED_TAG = re.compile(r"<answer>(.*?)</answer>", re.DOTALL | re.IGNORECASE)
_SENTENCES = re.compile(r"[.!?\n\u3002]+")
# Quotes, stars and stops around an answer, also those of Chinese text.
_MARKS = " \t\n\"'`*_.,;:!?\u201c\u201d\u2018\u2019\u3002\uff0c\uff01"
# No letter of a word, a unit ("25 °C", "25 C"), a name ("vitamin C") or a formula ("P(A)").
# Chinese has no blanks, so a letter may follow its characters.
_START = r"(?<![^\W\u4e00-\u9fff])(?<!\u00b0)(?<!\w\()(?<!\d )(?<!degree )(?<!degrees )(?<!itamin )"
_END = r"(?!\w|['\u2019]\w)"
# Small letters count only where nothing else can be meant: "a" is an article elsewhere.
_WHOLE_LETTER = re.compile(
    r"(?:(?:(?!not\b)\w+ )*(?:answer|option|choice)(?: is|:)*\s*)?\(?([A-Z])\)?",
    re.IGNORECASE,
)
_LETTERS = (
    re.compile(r"(?<!\w)\(([A-Z])\)"),
    re.compile(r"^([A-Z])[).:](?=\s)"),
    re.compile(rf"\b(?:[Aa]nswer|[Oo]ption|[Cc]hoice)(?: is|:)*[\s(\"'*\u201c]*([A-Z]){_END}"),
    # A and I are words of their own.  They count as letters before a stop, an end or a word that
    # follows no article; A also inside a sentence, where the article is small.
    re.compile(rf"{_START}([B-HJ-Z])(?!\u00b0|-\w){_END}"),
    re.compile(
        rf"{_START}([AI])"
        r"(?=\s*[.,:;!?)*}\]/&\"\u201d\u3002\uff01\uff0c]|['\u2019](?!\w)|\s*$"
        r"|\s+[-\u2013\u2014]\s|\s+(?:is|or|and|nor|not|but|because|since)\b)",
        re.MULTILINE,
    ),
    re.compile(r"(?<=[a-z]\s)(A)(?=\s+[a-z])"),
)
_NOT = (
    r"(?:\b(?:[Nn]ot|NOT|[Nn]o|[Nn]ever|[Nn]either|[Cc]annot|[Rr]ather than|[Ii]nstead of"
    r"|[Aa]nything but)|(?<![Nn]o )\b[Dd]oubt|n['\u2019]t)"
)
# What may stand between a denial and what it denies: "don't think that it is (B)".
_LINKS = (
    r"(?: (?:be|it|is|that|this|the|an?|think|believe|say|choose|pick|answer|option|choice|would))*"
)
_DENIED_LETTERS = (
    re.compile(rf"{_NOT}{_LINKS}[\s(\"'*\u201c]+([A-Z]){_END}"),
    re.compile(
        r"(?<!\w)([A-Z])[)\"'*\u201d]*\s+"
        r"(?:(?:is|was|would be|can)(?: [a-z]+ly)?(?:n['\u2019]t| not)"
        r"|(?:is|was|would be)(?: [a-z]+ly)? (?:wrong|incorrect|false))\b"
    ),
)
_NO_DOUBT = re.compile(r"\b(?:without a|no) doubt\b")
_DENIED_WORD = re.compile(r"\bnot (?:a |an )?[\"']?(?:yes|no)\b")
_DENIAL = re.compile(r"(?:\b(?:not|no|never|neither|cannot)|n['\u2019]t)(?: be)?(?: an?| the)? $")


def final(reply: str) -> str:
    """What stands in the last <answer> tag, or all that follows the <think> part.

    The end of a reply closes an <answer> tag.  A thought that does not end holds no answer,
    unless in a closed tag.
    """
    said = _THOUGHT.sub("", reply)
    if _OPEN_THOUGHT.search(said):
        return completed(said)
    tagged = _TAG.findall(said)
    return (tagged[-1] if tagged else said).strip()


def completed(reply: str) -> str:
    """What stands in the last closed <answer> tag, or nothing: all that a cut reply answers."""
    tagged = _CLOSED_TAG.findall(_THOUGHT.sub("", reply))
    return tagged[-1].strip() if tagged else ""


def normalised(text: str) -> str:
    """Lower case, single spaces, the minus that keyboards have, no stop at the end."""
    return " ".join(text.lower().replace("\N{MINUS SIGN}", "-").split()).rstrip(" .")


def yes_no(reply: str) -> str | None:
    """ "yes" or "no", told by the first sentence that holds one of these words.

    It is the word that the sentence begins with ("Yes, no doubt"), or the only one of the two.
    Both as answers ("yes and no") and a denied one ("not yes") are None.
    """
    said = _NO_DOUBT.sub("", final(reply).lower())
    for sentence in _SENTENCES.split(said):
        if _DENIED_WORD.search(sentence):
            return None
        words = set(re.findall(r"[a-z]+", sentence)) & {"yes", "no"}
        if len(words) == 1:
            return words.pop()
        if words:
            first = re.match(r"[\W_]*(yes|no)\b", sentence)
            return first[1] if first and not _takes_back(sentence, first[1]) else None
    return None


def _takes_back(sentence: str, word: str) -> bool:
    """Whether the opposite word answers as well: "yes or no", "yes, no"."""
    other = "no" if word == "yes" else "yes"
    return bool(re.search(rf"(?:\b(?:and|or) |/ ?){other}\b|\b{other}\s*(?:[,;:]|$)", sentence))


def letter(reply: str, options: Mapping[str, str]) -> str | None:
    """The letter of an option: as a letter in any usual form, or by the option's full text.

    Two different letters, the texts of two options, and a letter or text that the reply denies
    ("not B") are None; a text inside a longer option's text is not that option's.
    """
    found = _named(reply, options)
    return found.pop() if len(found) == 1 else None


def choice(reply: str, options: Mapping[str, str]) -> str | None:
    """As `letter`, but the option's text: options of equal text are one."""
    texts = {options[name] for name in _named(reply, options)}
    return texts.pop() if len(texts) == 1 else None


def mentions(text: str, words: str) -> bool:
    """Whether `words` stand in `text` as whole words."""
    return _whole_words([words]).search(normalised(text)) is not None


def _named(reply: str, options: Mapping[str, str]) -> set[str]:
    """The letters of all options that a reply may mean; none if it denies one."""
    text = final(reply)
    plain = text.strip(_MARKS)
    if not plain:
        return set()
    whole = _WHOLE_LETTER.fullmatch(plain)
    if whole and whole[1].upper() in options:
        return {whole[1].upper()}
    said = {normalised(text), normalised(plain)}
    exact = {name for name, option in options.items() if normalised(option) in said}
    return exact or _named_inside(text, options)


def _named_inside(text: str, options: Mapping[str, str]) -> set[str]:
    # Letters may stand in an option's own words ("point A"), and an article before them.
    words = _whole_words(option for option in options.values() if len(option) > 1)
    bare = re.sub(r"\b[Aa]n? +\0", " ", words.sub("\0", text)).replace("\0", " ")
    if _letters(_DENIED_LETTERS, bare) & set(options):
        return set()
    if found := _letters(_LETTERS, bare) & set(options):
        return found
    text = normalised(text)
    matches = list(_whole_words(options.values()).finditer(text))
    if any(_DENIAL.search(text[: match.start()]) for match in matches):
        return set()
    texts = {match[0] for match in matches}
    return {name for name, option in options.items() if normalised(option) in texts}


def _letters(patterns: Iterable[re.Pattern], text: str) -> set[str]:
    return {name for pattern in patterns for name in pattern.findall(text)}


def _whole_words(texts: Iterable[str]) -> re.Pattern:
    """Finds any of the texts, the longest first, but none inside a word or a number."""
    known = sorted(filter(None, map(normalised, texts)), key=len, reverse=True)
    anyone = "|".join(map(re.escape, known)) or "(?!)"
    return re.compile(rf"(?<![\w-])(?<!\d[.,])(?:{anyone})(?!\w|[.,]\d)", re.IGNORECASE)
