"""How do two digits lie to each other? Questions in 3DSRBench's schema.

Each question comes in four variants: as it is, with its options turned round, on the
mirrored layout, and both.
"""

from collections.abc import Callable

import numpy as np

from lost_in_attention.digits.facts import choose, side, unique_digits
from lost_in_attention.digits.scenes import PlacedDigit, Scene, Sketch
from lost_in_attention.digits.variants import mirrored

_TALLER = 3

Question = dict[str, str]


def question(scene: Scene, rng: np.random.Generator) -> Question | None:
    """Question, options A and B, answer and category."""
    if len(unique_digits(scene)) < 2:
        return None
    one, other = choose(unique_digits(scene), 2, rng)
    return _KINDS[rng.integers(len(_KINDS))](one, other, bool(rng.integers(2)))


def variants(sketch: Sketch, rng: np.random.Generator) -> list[tuple[Scene, Question]]:
    """One question and its three variants with their scenes; empty where none is clear.

    `flip` is "-flip" on the mirrored layout, `turn` is "-1" where the options are swapped.
    """
    names = [d.digit for d in sketch.digits]
    unique = [i for i, value in enumerate(names) if names.count(value) == 1]
    if len(unique) < 2:
        return []
    one, other = choose(unique, 2, rng)
    kind, swap = _KINDS[rng.integers(len(_KINDS))], bool(rng.integers(2))
    rows = []
    for flip, each in (("", sketch), ("-flip", mirrored(sketch))):
        scene = each.painted()
        for turn in ("", "-1"):
            found = kind(scene.digits[one], scene.digits[other], swap != bool(turn))
            if found is None:
                return []
            rows.append((scene, {**found, "flip": flip, "turn": turn}))
    return rows


def beside(one: PlacedDigit, other: PlacedDigit, swap: bool) -> Question | None:
    where = side(one, other, 0)
    text = f"Is the {one.name} on the left or on the right side of the {other.name}?"
    return where and _two(text, ("left", "right"), where, "location_beside", swap)


def above(one: PlacedDigit, other: PlacedDigit, swap: bool) -> Question | None:
    where = side(one, other, 1)
    text = f"Is the {one.name} above or below the {other.name}?"
    return where and _two(text, ("above", "below"), where, "location_above", swap)


def taller(one: PlacedDigit, other: PlacedDigit, swap: bool) -> Question | None:
    difference = one.box[3] - other.box[3]
    if abs(difference) < _TALLER:
        return None
    answer = one.name if difference > 0 else other.name
    text = f"Which digit is taller, the {one.name} or the {other.name}?"
    return _two(text, (one.name, other.name), answer, "height_taller", swap)


_KINDS: tuple[Callable[[PlacedDigit, PlacedDigit, bool], Question | None], ...] = (
    beside, above, taller,
)  # fmt: skip


def _two(text: str, options: tuple[str, str], answer: str, category: str, swap: bool) -> Question:
    first, second = options[::-1] if swap else options
    letter = "A" if answer == first else "B"
    return {"question": text, "A": first, "B": second, "answer": letter, "category": category}
