"""Colour, count, comparison and a written number: questions in VMCBench's schema."""

from collections.abc import Callable

import numpy as np

from lost_in_attention.benchmarks.choices import LETTERS
from lost_in_attention.digits.facts import absent_digit, coloured_digit
from lost_in_attention.digits.scenes import DIGIT_NAMES, Scene
from lost_in_attention.worlds.choices import Question, four, how_many
from lost_in_attention.worlds.facts import choose


def question(scene: Scene, rng: np.random.Generator) -> Question | None:
    """Question, options A to D, answer and category; on a row of digits, the number itself."""
    if scene.theme is None:
        return written(scene, rng)
    return _KINDS[rng.integers(len(_KINDS))](scene, rng)


def colour(scene: Scene, rng: np.random.Generator) -> Question | None:
    """Which of four colours a digit has."""
    found = coloured_digit(scene, rng)
    if found is None:
        return None
    digit, others = found
    return four(f"What colour is the {digit.name}?", digit.colour, others, "Colour", rng)


def count(scene: Scene, rng: np.random.Generator) -> Question | None:
    """How many digits there are."""
    return how_many("How many digits are in the image?", len(scene.digits), rng)


def highest(scene: Scene, rng: np.random.Generator) -> Question | None:
    """Which of four digits is the highest of the scene."""
    present = sorted({d.digit for d in scene.digits})
    others = [DIGIT_NAMES[v] for v in present[-3:-1]]
    spare = [n for n in DIGIT_NAMES if n != DIGIT_NAMES[present[-1]] and n not in others]
    others += choose(spare, 3 - len(others), rng)
    name = DIGIT_NAMES[present[-1]]
    return four("Which is the highest digit in the image?", name, others, "Comparison", rng)


def written(scene: Scene, rng: np.random.Generator) -> Question:
    """The true number among numbers with one other digit or two digits exchanged."""
    values = [d.digit for d in scene.digits]
    others: list[list[int]] = []
    while len(others) < len(LETTERS) - 1:
        other = list(values)
        place = int(rng.integers(len(values)))
        if rng.random() < 0.5:
            other[place] = absent_digit(scene, rng)
        else:
            other[place], other[place - 1] = other[place - 1], other[place]
        if other != values and other not in others:
            others.append(other)
    texts = [spaced(other) for other in others]
    return four("What number is written in the image?", spaced(values), texts, "String", rng)


_KINDS: tuple[Callable[[Scene, np.random.Generator], Question | None], ...] = (
    colour, count, highest,
)  # fmt: skip


def spaced(values: list[int]) -> str:
    """A number with its digits apart ("4 7 2")."""
    return " ".join(map(str, values))
