"""Prompts and judging that several benchmarks share: of lettered options, and of yes or no."""

from collections.abc import Mapping

from lost_in_attention.benchmarks.answers import letter, yes_no
from lost_in_attention.benchmarks.base import Judgement, Sample

LETTERS = "ABCD"
DIRECTLY = "Answer with the option's letter from the given choices directly."
BRIEFLY = "Answer the question using a single word or phrase."


def options_of(row: Mapping) -> dict[str, str]:
    """The options in the columns A to D that hold one; some tables write "nan" for none."""
    texts = {name: str(row[name]) for name in LETTERS if row.get(name) is not None}
    return {name: text for name, text in texts.items() if text.lower() not in ("", "nan")}


def lines(options: Mapping[str, str]) -> list[str]:
    """A line for each option: "A. cow"."""
    return [f"{name}. {text}" for name, text in options.items()]


def judge_letter(reply: str, sample: Sample) -> Judgement:
    """The letter, or the full text, of exactly one option."""
    parsed = letter(reply, sample.options)
    return Judgement(parsed, parsed == sample.answer)


def judge_yes_no(reply: str, sample: Sample) -> Judgement:
    """Yes or no, as the first sentence with one of these words says."""
    parsed = yes_no(reply)
    return Judgement(parsed, parsed == sample.answer)
