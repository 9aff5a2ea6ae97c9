"""How two things lie to each other: questions in 3DSRBench's schema.

Each question comes in four variants: as it is, with its options turned round, on the mirrored
picture, and both.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lost_in_attention.worlds.facts import choose, side
from lost_in_attention.worlds.scenery import Thing

Question = dict[str, str]
Kind = Callable[[Thing, Thing, bool], Question | None]


def beside(one: Thing, other: Thing, swap: bool) -> Question | None:
    """On which side of the other a thing lies; None where that is not clear."""
    where = side(one, other, 0)
    text = f"Is the {one.name} on the left or on the right side of the {other.name}?"
    return where and two(text, ("left", "right"), where, "location_beside", swap)


def above(one: Thing, other: Thing, swap: bool) -> Question | None:
    """Whether a thing lies above or below the other; None where that is not clear."""
    where = side(one, other, 1)
    text = f"Is the {one.name} above or below the {other.name}?"
    return where and two(text, ("above", "below"), where, "location_above", swap)


def two(text: str, options: tuple[str, str], answer: str, category: str, swap: bool) -> Question:
    """The question with options A and B, turned round if `swap`."""
    first, second = options[::-1] if swap else options
    letter = "A" if answer == first else "B"
    return {"question": text, "A": first, "B": second, "answer": letter, "category": category}


def variants(
    sketch: Any, mirrored: Callable[[Any], Any], kinds: Sequence[Kind], rng: np.random.Generator
) -> list[tuple[Any, Question]]:
    """One question on two things of a sketch and its three variants, each with its scene.

    `flip` is "-flip" on the mirrored sketch, `turn` is "-1" where the options are swapped.
    Empty where no two names are unique, or where one of the variants is not clear.
    """
    names = [thing.name for thing in sketch.things]
    unique = [i for i, name in enumerate(names) if names.count(name) == 1]
    if len(unique) < 2:
        return []
    one, other = choose(unique, 2, rng)
    kind, swap = kinds[rng.integers(len(kinds))], bool(rng.integers(2))
    rows = []
    for flip, each in (("", sketch), ("-flip", mirrored(sketch))):
        scene = each.painted()
        for turn in ("", "-1"):
            found = kind(scene.things[one], scene.things[other], swap != bool(turn))
            if found is None:
                return []
            rows.append((scene, {**found, "flip": flip, "turn": turn}))
    return rows
