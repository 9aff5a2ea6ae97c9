"""Passages of a novel: samples without images, for what a decoder does when it only reads."""

import re

from lost_in_attention.benchmarks import Sample
from lost_in_attention.runs.numbers import check_whole
from lost_in_attention.runs.paths import data_folder

NOVEL = "botchan"
_CHAPTER = re.compile(r"^CHAPTER ([IVX]+)$", re.MULTILINE)


def passages(*, words: int = 75) -> list[Sample]:
    """The novel in data/texts, cut into samples of whole sentences, in its order.

    A passage ends with the sentence that brings it to `words` words; what is left at the end of a
    chapter makes none.  The chapter is the sample's `group`; each passage is a unit by itself for
    intervals, and so stands in `image_source`.

    Raises ValueError unless `words` is a positive whole number.
    """
    check_whole("words", words, least=1)
    text = (data_folder() / "texts" / f"{NOVEL}.txt").read_text()
    _, *parts = _CHAPTER.split(text)
    return [
        _sample(f"{NOVEL}-{chapter}-{number:03d}", passage, chapter)
        for chapter, body in zip(parts[::2], parts[1::2], strict=True)
        for number, passage in enumerate(_cut(" ".join(body.split()), words), start=1)
    ]


def _cut(text: str, words: int) -> list[str]:
    passages, sentences, count = [], [], 0
    for sentence in _sentences(text):
        sentences.append(sentence)
        count += len(sentence.split())
        if count >= words:
            passages.append(" ".join(sentences))
            sentences, count = [], 0
    return passages


def _sentences(text: str) -> list[str]:
    return re.split(r"(?<=[.!?])\s+|(?<=[.!?][\"'])\s+", text)


def _sample(name: str, passage: str, chapter: str) -> Sample:
    return Sample(
        id=name, images=(), question=passage, prompt=passage, answer="", group=f"chapter {chapter}",
        image_source=name,
    )  # fmt: skip
