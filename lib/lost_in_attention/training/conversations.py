"""What the small models are taught to talk about: conversations on one scene.

Half of them describe the scene digit by digit ("seven red 3 5, two blue 1 7, four no"),
half ask six mixed questions.  In a description the digits are given, in random order, and
what follows each is learned: so the model must look the digit up, and cannot scan.  A
conversation is a list of (question, answer) pairs.
"""

from collections.abc import Callable

import numpy as np

from lost_in_attention.benchmarks.pope import INSTRUCTION
from lost_in_attention.digits import COLOURS, DIGIT_NAMES, IMAGE_SIZE, PlacedDigit, Scene
from lost_in_attention.digits.pope import existence_question

Turn = tuple[str, str]

GRID = 8
QUESTIONS_PER_CONVERSATION = 6
INSTRUCTION_SHARE = 0.1
DESCRIBE = "Describe the digits."
_EXISTENCE_SHARE = 0.5


def conversation(scene: Scene, rng: np.random.Generator) -> list[Turn]:
    """A description or a conversation of mixed questions, with equal chance."""
    return [description(scene, rng)] if rng.random() < 0.5 else mixed_questions(scene, rng)


def description(scene: Scene, rng: np.random.Generator) -> Turn:
    """Every digit of the scene in random order, then an absent one, which is "no"."""
    values = rng.permutation(sorted({d.digit for d in scene.digits})).tolist()
    values.append(_absent(scene, rng))
    parts = [f"{DIGIT_NAMES[value]} {where(scene, value)}" for value in values]
    return DESCRIBE, ", ".join(parts)


def where(scene: Scene, value: int) -> str:
    """Colour, column and row (1 to 8) of each such digit from left to right, or "no"."""
    found = sorted((d.centre, d.colour) for d in scene.digits if d.digit == value)
    places = [f"{colour} {_cell(centre[0])} {_cell(centre[1])}" for centre, colour in found]
    return " and ".join(places) if places else "no"


def mixed_questions(scene: Scene, rng: np.random.Generator) -> list[Turn]:
    """Six questions, about half of them on existence, some with POPE's instruction."""
    turns = []
    for _ in range(QUESTIONS_PER_CONVERSATION):
        ask = existence if rng.random() < _EXISTENCE_SHARE else _OTHERS[rng.integers(len(_OTHERS))]
        question, answer = ask(scene, rng)
        if rng.random() < INSTRUCTION_SHARE:
            question = f"{question}\n{INSTRUCTION}"
        turns.append((question, answer))
    return turns


def existence(scene: Scene, rng: np.random.Generator) -> Turn:
    present = rng.random() < 0.5
    value = int(rng.choice([d.digit for d in scene.digits])) if present else _absent(scene, rng)
    return existence_question(value), "yes" if present else "no"


def colour(scene: Scene, rng: np.random.Generator) -> Turn:
    digit = _unique(scene, rng, 1)[0]
    return f"What colour is the {digit.name}?", digit.colour


def count(scene: Scene, rng: np.random.Generator) -> Turn:
    return "How many digits are in the image?", str(len(scene.digits))


def count_colour(scene: Scene, rng: np.random.Generator) -> Turn:
    name = str(rng.choice([d.colour for d in scene.digits] + list(COLOURS)))
    number = sum(d.colour == name for d in scene.digits)
    return f"How many {name} digits are in the image?", str(number)


def relation(scene: Scene, rng: np.random.Generator) -> Turn:
    one, other = _unique(scene, rng, 2)
    axis = int(rng.integers(2))
    words = (("to the left of", "to the right of"), ("above", "below"))[axis]
    holds = bool(rng.random() < 0.5)
    before = one.centre[axis] < other.centre[axis]
    question = f"Is the {one.name} {words[0 if before == holds else 1]} the {other.name}?"
    return question, "yes" if holds else "no"


_OTHERS: tuple[Callable[[Scene, np.random.Generator], Turn], ...] = (
    colour, count, count_colour, relation,
)  # fmt: skip


def _unique(scene: Scene, rng: np.random.Generator, number: int) -> list[PlacedDigit]:
    """Digits that a question can name without ambiguity; the first of each value if too few."""
    values = [d.digit for d in scene.digits]
    candidates = [d for d in scene.digits if values.count(d.digit) == 1]
    if len(candidates) < number:
        candidates = [scene.digits[values.index(value)] for value in sorted(set(values))]
    return [candidates[i] for i in rng.choice(len(candidates), number, replace=False)]


def _absent(scene: Scene, rng: np.random.Generator) -> int:
    present = {d.digit for d in scene.digits}
    return int(rng.choice([value for value in range(10) if value not in present]))


def _cell(position: float) -> int:
    return int(position * GRID / IMAGE_SIZE) + 1
