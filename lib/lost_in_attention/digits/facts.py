"""What can be asked about a scene of digits without ambiguity."""

import numpy as np

from lost_in_attention.digits.scenes import COLOURS, IMAGE_SIZE, PlacedDigit, Scene
from lost_in_attention.worlds import facts


def unique_digits(scene: Scene) -> list[PlacedDigit]:
    """The digits that their name alone singles out."""
    return facts.singled_out(scene.digits, lambda d: d.digit)


def unique_colours(scene: Scene) -> list[PlacedDigit]:
    """The digits that their colour alone singles out."""
    return facts.singled_out(scene.digits, lambda d: d.colour)


def coloured_digit(scene: Scene, rng: np.random.Generator) -> tuple[PlacedDigit, list[str]] | None:
    """A digit that its name singles out, and three colours that it has not; None without one."""
    if not unique_digits(scene):
        return None
    [digit] = facts.choose(unique_digits(scene), 1, rng)
    return digit, facts.choose([c for c in COLOURS if c != digit.colour], 3, rng)


def absent_digit(scene: Scene, rng: np.random.Generator) -> int:
    """A digit from 0 to 9 that the scene lacks."""
    present = {d.digit for d in scene.digits}
    return int(rng.choice([value for value in range(10) if value not in present]))


def cell(digit: PlacedDigit) -> tuple[int, int]:
    """Column and row, 1 to 8, of the visual token under the digit's centre."""
    return facts.cell(digit, IMAGE_SIZE)


def quadrant(digit: PlacedDigit) -> str | None:
    """The quarter of the image that holds the digit's centre; None near a middle line."""
    return facts.quadrant(digit, IMAGE_SIZE)
