"""Sums, differences and comparisons: questions in MathVista's schema."""

from collections.abc import Callable

import numpy as np

from lost_in_attention.digits.facts import choose, unique_colours
from lost_in_attention.digits.scenes import Scene

Question = dict
_MOST_ADDED = 3


def question(scene: Scene, rng: np.random.Generator) -> Question | None:
    """Question, choices, answer, question_type, answer_type and the task's name."""
    if len(unique_colours(scene)) < 2:
        return None
    return _KINDS[rng.integers(len(_KINDS))](scene, rng)


def plus(scene: Scene, rng: np.random.Generator) -> Question:
    [digit] = choose(unique_colours(scene), 1, rng)
    added = int(rng.integers(1, _MOST_ADDED + 1))
    text = f"What is the {digit.colour} digit plus {added}?"
    return _number(text, digit.digit + added, "addition")


def minus(scene: Scene, rng: np.random.Generator) -> Question | None:
    large = [d for d in unique_colours(scene) if d.digit >= 1]
    if not large:
        return None
    [digit] = choose(large, 1, rng)
    taken = int(rng.integers(1, min(digit.digit, _MOST_ADDED) + 1))
    text = f"What is the {digit.colour} digit minus {taken}?"
    return _number(text, digit.digit - taken, "subtraction")


def total(scene: Scene, rng: np.random.Generator) -> Question:
    one, other = choose(unique_colours(scene), 2, rng)
    text = f"What is the sum of the {one.colour} digit and the {other.colour} digit?"
    return _number(text, one.digit + other.digit, "sum")


def higher(scene: Scene, rng: np.random.Generator) -> Question | None:
    one, other = choose(unique_colours(scene), 2, rng)
    if one.digit == other.digit:
        return None
    return {
        "question": f"Which digit is higher, the {one.colour} one or the {other.colour} one?",
        "choices": [one.colour, other.colour],
        "answer": one.colour if one.digit > other.digit else other.colour,
        "question_type": "multi_choice",
        "answer_type": "text",
        "task": "comparison",
    }


_KINDS: tuple[Callable[[Scene, np.random.Generator], Question | None], ...] = (
    plus, minus, total, higher, higher,
)  # fmt: skip


def _number(text: str, answer: int, task: str) -> Question:
    return {
        "question": text,
        "choices": None,
        "answer": str(answer),
        "question_type": "free_form",
        "answer_type": "integer",
        "task": task,
    }
