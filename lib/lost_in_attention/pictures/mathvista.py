"""Sums and differences of counts: questions in MathVista's schema."""

from collections import Counter

import numpy as np

from lost_in_attention.pictures.scenes import Scene
from lost_in_attention.pictures.words import many
from lost_in_attention.worlds.calculations import Question, number, which
from lost_in_attention.worlds.facts import choose


def question(scene: Scene, rng: np.random.Generator) -> Question | None:
    """Question, choices, answer, question_type, answer_type and the task's name.

    The scene holds two or three different things, some of them several times.
    """
    counts = Counter(picture.noun for picture in scene.pictures)
    one, other = choose(list(counts), 2, rng)
    return _KINDS[rng.integers(len(_KINDS))](counts, one, other)


def total(counts: Counter, one: str, other: str) -> Question:
    """How many of two things there are together."""
    text = f"How many {many(one)} and {many(other)} are there together?"
    return number(text, counts[one] + counts[other], "sum")


def difference(counts: Counter, one: str, other: str) -> Question | None:
    """How many more there are of one thing; None where there are as many."""
    if counts[one] == counts[other]:
        return None
    more, fewer = sorted((one, other), key=lambda noun: -counts[noun])
    text = f"How many more {many(more)} than {many(fewer)} are there?"
    return number(text, counts[more] - counts[fewer], "difference")


def left(counts: Counter, one: str, other: str) -> Question:
    """How many things are left without those of one kind."""
    text = f"How many things are left if all {many(one)} are taken away?"
    return number(text, counts.total() - counts[one], "subtraction")


def more_of(counts: Counter, one: str, other: str) -> Question | None:
    """Of which of two things there are more; None where there are as many."""
    if counts[one] == counts[other]:
        return None
    choices = [many(one), many(other)]
    answer = choices[counts[other] > counts[one]]
    return which(f"Which are there more of, {' or '.join(choices)}?", choices, answer, "comparison")


_KINDS = (total, difference, left, more_of)
