"""Sums, differences and comparisons: questions in MathVista's schema."""

from collections.abc import Callable

import numpy as np

from lost_in_attention.digits.facts import unique_colours
from lost_in_attention.digits.scenes import Scene
from lost_in_attention.worlds.calculations import Question, number, which
from lost_in_attention.worlds.facts import choose

_MOST_ADDED = 3


def question(scene: Scene, rng: np.random.Generator) -> Question | None:
    """Question, choices, answer, question_type, answer_type and the task's name."""
    if len(unique_colours(scene)) < 2:
        return None
    return _KINDS[rng.integers(len(_KINDS))](scene, rng)


def plus(scene: Scene, rng: np.random.Generator) -> Question:
    """The digit of a colour plus one to three."""
    [digit] = choose(unique_colours(scene), 1, rng)
    added = int(rng.integers(1, _MOST_ADDED + 1))
    text = f"What is the {digit.colour} digit plus {added}?"
    return number(text, digit.digit + added, "addition")


def minus(scene: Scene, rng: np.random.Generator) -> Question | None:
    """The digit of a colour minus one to three, never below zero."""
    large = [d for d in unique_colours(scene) if d.digit >= 1]
    if not large:
        return None
    [digit] = choose(large, 1, rng)
    taken = int(rng.integers(1, min(digit.digit, _MOST_ADDED) + 1))
    text = f"What is the {digit.colour} digit minus {taken}?"
    return number(text, digit.digit - taken, "subtraction")


def total(scene: Scene, rng: np.random.Generator) -> Question:
    """The sum of two colours' digits."""
    one, other = choose(unique_colours(scene), 2, rng)
    text = f"What is the sum of the {one.colour} digit and the {other.colour} digit?"
    return number(text, one.digit + other.digit, "sum")


def higher(scene: Scene, rng: np.random.Generator) -> Question | None:
    """Which colour's digit is higher; None where they are equal."""
    one, other = choose(unique_colours(scene), 2, rng)
    if one.digit == other.digit:
        return None
    answer = one.colour if one.digit > other.digit else other.colour
    text = f"Which digit is higher, the {one.colour} one or the {other.colour} one?"
    return which(text, [one.colour, other.colour], answer, "comparison")


_KINDS: tuple[Callable[[Scene, np.random.Generator], Question | None], ...] = (
    plus, minus, total, higher, higher,
)  # fmt: skip
