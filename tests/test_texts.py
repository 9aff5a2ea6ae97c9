"""Passages of the novel: whole sentences, in order, none twice, none across chapters."""

import re

import pytest

from lost_in_attention.runs.paths import data_folder
from lost_in_attention.texts import passages

NOVEL = (data_folder() / "texts" / "botchan.txt").read_text()


@pytest.mark.parametrize("words", [1, 20, 75])
def test_passages_are_the_novel_in_its_order(words):
    flat = " ".join(re.sub(r"^CHAPTER .*$", "", NOVEL, flags=re.MULTILINE).split())
    position = 0
    for sample in passages(words=words):
        found = flat.find(sample.prompt, position)
        assert found >= position, sample.id
        position = found + len(sample.prompt)
        assert len(sample.prompt.split()) >= words
        assert re.search(r"[.!?][\"']?$", sample.prompt), sample.id


def test_chapters_and_names_tell_passages_apart():
    found = passages()
    assert len({sample.id for sample in found}) == len(found) > 200
    assert len({sample.group for sample in found}) == 11
    assert all(sample.images == () and sample.image_source == sample.id for sample in found)


def test_passages_are_not_longer_than_a_sentence_needs():
    for sample in passages(words=75):
        *_, last = re.split(r"(?<=[.!?])\s+|(?<=[.!?][\"'])\s+", sample.prompt)
        assert len(sample.prompt.split()) - len(last.split()) < 75


def test_no_notes_and_no_other_name_are_left():
    assert "Gutenberg" not in NOVEL and "[" not in NOVEL


def test_a_number_of_words_must_be_positive():
    with pytest.raises(ValueError, match="words: expected at least 1, got 0"):
        passages(words=0)


@pytest.mark.usefixtures("unchecked")
def test_a_number_of_words_is_whole():
    with pytest.raises(ValueError, match="words: expected a whole number, got 1.5"):
        passages(words=1.5)
