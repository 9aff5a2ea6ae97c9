"""What can be asked about a scene without ambiguity, and how options get their letters."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from lost_in_attention.digits.scenes import COLOURS, IMAGE_SIZE, PlacedDigit, Scene

T = TypeVar("T")

LETTERS = "ABCD"
GRID = 8
PLACES = ("top left", "top right", "bottom left", "bottom right")
_CLEAR = 4


def unique_digits(scene: Scene) -> list[PlacedDigit]:
    """The digits that their name alone singles out."""
    values = [d.digit for d in scene.digits]
    return [d for d in scene.digits if values.count(d.digit) == 1]


def unique_colours(scene: Scene) -> list[PlacedDigit]:
    """The digits that their colour alone singles out."""
    colours = [d.colour for d in scene.digits]
    return [d for d in scene.digits if colours.count(d.colour) == 1]


def coloured_digit(scene: Scene, rng: np.random.Generator) -> tuple[PlacedDigit, list[str]] | None:
    """A digit that its name singles out, and three colours that it has not; None without one."""
    if not unique_digits(scene):
        return None
    [digit] = choose(unique_digits(scene), 1, rng)
    return digit, choose([c for c in COLOURS if c != digit.colour], 3, rng)


def absent_digit(scene: Scene, rng: np.random.Generator) -> int:
    present = {d.digit for d in scene.digits}
    return int(rng.choice([value for value in range(10) if value not in present]))


def choose(candidates: Sequence[T], number: int, rng: np.random.Generator) -> list[T]:
    """`number` different candidates in random order."""
    return [candidates[i] for i in rng.choice(len(candidates), number, replace=False)]


def cell(digit: PlacedDigit) -> tuple[int, int]:
    """Column and row, 1 to 8, of the visual token under the digit's centre."""
    x, y = digit.centre
    return int(x * GRID / IMAGE_SIZE) + 1, int(y * GRID / IMAGE_SIZE) + 1


def quadrant(digit: PlacedDigit) -> str | None:
    """The quarter of the image that holds the digit's centre; None near a middle line."""
    x, y = (value - IMAGE_SIZE / 2 for value in digit.centre)
    if min(abs(x), abs(y)) < _CLEAR:
        return None
    return PLACES[2 * (y > 0) + (x > 0)]


def side(one: PlacedDigit, other: PlacedDigit, axis: int) -> str | None:
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
