"""Questions with four options in VMCBench's schema."""

from collections.abc import Sequence

import numpy as np

from lost_in_attention.worlds.facts import lettered

Question = dict[str, str]


def four(
    text: str, answer: str, others: Sequence[str], category: str, rng: np.random.Generator
) -> Question:
    """The question with three other options; `category` is the source it is scored in."""
    options, letter = lettered(answer, others, rng)
    return {"question": text, **options, "answer": letter, "category": category}
