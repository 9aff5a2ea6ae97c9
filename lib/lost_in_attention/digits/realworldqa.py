"""Where is it? Questions in RealWorldQA's schema, with their options and instruction inside."""

import numpy as np

from lost_in_attention.digits.facts import PLACES, cell, choose, lettered, quadrant, unique_digits
from lost_in_attention.digits.scenes import Scene

LETTER = "Please answer directly with only the letter of the correct option and nothing else."
WORD = "Please answer directly with a single word or number."
_LETTER_SHARE = 0.7


def question(scene: Scene, rng: np.random.Generator) -> dict[str, str] | None:
    """Question and answer: a quarter of the image by letter, or a row or column by number."""
    ask = quarter if rng.random() < _LETTER_SHARE else line
    return ask(scene, rng)


def options(row: dict[str, str]) -> dict[str, str]:
    """The lettered options that stand in a question; none where it asks for a number."""
    lines = row["question"].split("\n")[1:-1]
    return dict(line.split(". ", 1) for line in lines)


def quarter(scene: Scene, rng: np.random.Generator) -> dict[str, str] | None:
    clear = [d for d in unique_digits(scene) if quadrant(d)]
    if not clear:
        return None
    [digit] = choose(clear, 1, rng)
    place = quadrant(digit)
    letters, answer = lettered(place, [p for p in PLACES if p != place], rng)
    lines = [f"{letter}. {text}" for letter, text in letters.items()]
    text = "\n".join([f"Where in the image is the {digit.name}?", *lines, LETTER])
    return {"question": text, "answer": answer}


def line(scene: Scene, rng: np.random.Generator) -> dict[str, str] | None:
    clear = unique_digits(scene)
    if not clear:
        return None
    [digit] = choose(clear, 1, rng)
    axis = int(rng.integers(2))
    kind = ("column", "row")[axis]
    text = f"In which {kind} of the image, from 1 to 8, is the {digit.name}?"
    return {"question": f"{text}\n{WORD}", "answer": str(cell(digit)[axis])}
