"""Where is it? Questions in RealWorldQA's schema, with their options and instruction inside."""

from collections.abc import Sequence

import numpy as np

from lost_in_attention.worlds.facts import PLACES, cell, choose, lettered, quadrant
from lost_in_attention.worlds.scenery import Thing

LETTER = "Please answer directly with only the letter of the correct option and nothing else."
WORD = "Please answer directly with a single word or number."

Question = dict[str, str]


def options(row: Question) -> dict[str, str]:
    """The lettered options that stand in a question; none where it asks for a word."""
    lines = row["question"].split("\n")[1:-1]
    return dict(line.split(". ", 1) for line in lines)


def by_letter(text: str, answer: str, others: Sequence[str], rng: np.random.Generator) -> Question:
    """The question with its options under letters; the answer is a letter."""
    letters, right = lettered(answer, others, rng)
    lines = [f"{letter}. {option}" for letter, option in letters.items()]
    return {"question": "\n".join([text, *lines, LETTER]), "answer": right}


def quarter(unique: Sequence[Thing], size: int, rng: np.random.Generator) -> Question | None:
    """In which quarter of a picture of `size` pixels one of the things lies."""
    clear = [thing for thing in unique if quadrant(thing, size)]
    if not clear:
        return None
    [thing] = choose(clear, 1, rng)
    place = quadrant(thing, size)
    text = f"Where in the image is the {thing.name}?"
    return by_letter(text, place, [p for p in PLACES if p != place], rng)


def line(unique: Sequence[Thing], size: int, rng: np.random.Generator) -> Question | None:
    """In which row or column of a picture of `size` pixels one of the things lies."""
    if not unique:
        return None
    [thing] = choose(unique, 1, rng)
    axis = int(rng.integers(2))
    kind = ("column", "row")[axis]
    text = f"In which {kind} of the image, from 1 to 8, is the {thing.name}?"
    return {"question": f"{text}\n{WORD}", "answer": str(cell(thing, size)[axis])}
