"""How do two digits lie to each other? Questions in 3DSRBench's schema."""

import numpy as np

from lost_in_attention.digits.facts import unique_digits
from lost_in_attention.digits.scenes import PlacedDigit, Scene
from lost_in_attention.worlds.facts import choose
from lost_in_attention.worlds.relations import Kind, Question, above, beside, two

_TALLER = 3


def question(scene: Scene, rng: np.random.Generator) -> Question | None:
    """Question, options A and B, answer and category."""
    if len(unique_digits(scene)) < 2:
        return None
    one, other = choose(unique_digits(scene), 2, rng)
    return KINDS[rng.integers(len(KINDS))](one, other, bool(rng.integers(2)))


def taller(one: PlacedDigit, other: PlacedDigit, swap: bool) -> Question | None:
    """Which of two digits is taller; None below a difference of 3 pixels."""
    difference = one.box[3] - other.box[3]
    if abs(difference) < _TALLER:
        return None
    answer = one.name if difference > 0 else other.name
    text = f"Which digit is taller, the {one.name} or the {other.name}?"
    return two(text, (one.name, other.name), answer, "height_taller", swap)


KINDS: tuple[Kind, ...] = (beside, above, taller)
