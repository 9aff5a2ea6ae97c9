"""What can be asked about a scene without ambiguity, and how options get their letters."""

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

import numpy as np

from lost_in_attention.benchmarks.choices import LETTERS
from lost_in_attention.worlds.scenery import Thing

T = TypeVar("T")

GRID = 8
PLACES = ("top left", "top right", "bottom left", "bottom right")
_CLEAR = 4


def singled_out(things: Sequence[T], key: Callable[[T], Hashable]) -> list[T]:
    """The things that share their key with no other."""
    keys = [key(thing) for thing in things]
    return [thing for thing, each in zip(things, keys, strict=True) if keys.count(each) == 1]


def choose(candidates: Sequence[T], number: int, rng: np.random.Generator) -> list[T]:
    """`number` different candidates in random order."""
    return [candidates[i] for i in rng.choice(len(candidates), number, replace=False)]


def cell(thing: Thing, size: int) -> tuple[int, int]:
    """Column and row, 1 to 8, under the thing's centre in a picture of `size` pixels."""
    x, y = thing.centre
    return int(x * GRID / size) + 1, int(y * GRID / size) + 1


def quadrant(thing: Thing, size: int) -> str | None:
    """The quarter of the image that holds the thing's centre; None near a middle line."""
    x, y = (value - size / 2 for value in thing.centre)
    if min(abs(x), abs(y)) < _CLEAR:
        return None
    return PLACES[2 * (y > 0) + (x > 0)]


def side(one: Thing, other: Thing, axis: int) -> str | None:
    """Where `one` lies from `other`: left or right (axis 0), above or below (axis 1).

    None where their centres differ by fewer than 4 pixels along the axis.
    """
    difference = one.centre[axis] - other.centre[axis]
    if abs(difference) < _CLEAR:
        return None
    return (("left", "right"), ("above", "below"))[axis][difference > 0]


def lettered(
    answer: str, others: Sequence[str], rng: np.random.Generator
) -> tuple[dict[str, str], str]:
    """The answer and the other options in random order under letters; the answer's letter."""
    texts = choose([answer, *others], len(others) + 1, rng)
    return dict(zip(LETTERS, texts, strict=False)), LETTERS[texts.index(answer)]
