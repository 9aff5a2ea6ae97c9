"""Questions with four options in VMCBench's schema."""

from collections.abc import Sequence

import numpy as np

from lost_in_attention.worlds.facts import lettered

Question = dict[str, str]
_COUNTS = ("3", "4", "5", "6")


def four(
    text: str, answer: str, others: Sequence[str], category: str, rng: np.random.Generator
) -> Question:
    """The question with three other options; `category` is the source it is scored in."""
    options, letter = lettered(answer, others, rng)
    return {"question": text, **options, "answer": letter, "category": category}


def how_many(text: str, number: int, rng: np.random.Generator) -> Question | None:
    """The options are three to six; None where the answer is another number."""
    answer = str(number)
    others = [count for count in _COUNTS if count != answer]
    return four(text, answer, others, "Count", rng) if answer in _COUNTS else None
