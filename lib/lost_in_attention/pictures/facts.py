"""What can be asked about a scene of drawings without ambiguity."""

from collections.abc import Sequence

import numpy as np

from lost_in_attention.pictures.drawings import groups
from lost_in_attention.pictures.knowledge import may_be_named
from lost_in_attention.pictures.scenes import PlacedPicture, Scene
from lost_in_attention.worlds.facts import choose, singled_out

_CLEARLY = 1.4


def nouns_of(scene: Scene) -> list[str]:
    """The different nouns of a scene."""
    return list(dict.fromkeys(picture.noun for picture in scene.pictures))


def unique_pictures(scene: Scene) -> list[PlacedPicture]:
    """The things that their noun alone singles out."""
    return singled_out(scene.pictures, lambda picture: picture.noun)


def absent_nouns(scene: Scene) -> list[str]:
    """The nouns that nothing in the scene goes by."""
    present = nouns_of(scene)
    return [n for n in groups() if n not in present and may_be_named(n, present)]


def filled(others: Sequence[str], number: int, scene: Scene, rng: np.random.Generator) -> list[str]:
    """`number` wrong options: some of the others, and absent nouns where these are too few."""
    some = choose(others, min(number, len(others)), rng)
    return some + choose(absent_nouns(scene), number - len(some), rng)


def clear_extreme(values: Sequence[float], margin: float) -> int | None:
    """The position of the largest value if it is larger than the others by the margin."""
    order = np.argsort(values)
    if len(values) < 2 or values[order[-1]] - values[order[-2]] < margin:
        return None
    return int(order[-1])


def area(picture: PlacedPicture) -> int:
    """Of the box, in square pixels."""
    return picture.box[2] * picture.box[3]


def clearly_larger(one: PlacedPicture, other: PlacedPicture) -> bool:
    """Whether one's box has an area of at least 1.4 times the other's."""
    return area(one) >= _CLEARLY * area(other)
