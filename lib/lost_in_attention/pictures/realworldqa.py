"""Where is it, and what is there? Questions in RealWorldQA's schema."""

import numpy as np

from lost_in_attention.pictures.facts import filled, unique_pictures
from lost_in_attention.pictures.scenes import IMAGE_SIZE, PlacedPicture, Scene
from lost_in_attention.worlds import places
from lost_in_attention.worlds.facts import choose, quadrant, singled_out
from lost_in_attention.worlds.places import WORD, Question, by_letter

_CLEAR = 8


def question(scene: Scene, rng: np.random.Generator) -> Question | None:
    """A quarter or what lies in it by letter, or a half by yes or no."""
    return _KINDS[rng.integers(len(_KINDS))](scene, rng)


def where(scene: Scene, rng: np.random.Generator) -> Question | None:
    """In which quarter of the image a thing is."""
    return places.quarter(unique_pictures(scene), IMAGE_SIZE, rng)


def what(scene: Scene, rng: np.random.Generator) -> Question | None:
    """Which of four things is in a quarter of the image."""
    found = alone_in_quarter(scene, rng)
    if found is None:
        return None
    others = [p.noun for p in unique_pictures(scene) if p.noun != found.noun]
    text = f"What is in the {quadrant(found, IMAGE_SIZE)} part of the image?"
    return by_letter(text, found.noun, filled(others, 3, scene, rng), rng)


def half(scene: Scene, rng: np.random.Generator) -> Question | None:
    """Whether a thing is in one half of the image; None near the middle."""
    axis = int(rng.integers(2))
    clear = [p for p in unique_pictures(scene) if abs(p.centre[axis] - IMAGE_SIZE / 2) >= _CLEAR]
    if not clear:
        return None
    [picture] = choose(clear, 1, rng)
    second = bool(rng.integers(2))
    name = (("left", "right"), ("top", "bottom"))[axis][second]
    right = (picture.centre[axis] > IMAGE_SIZE / 2) == second
    text = f"Is the {picture.noun} in the {name} half of the image?\n{WORD}"
    return {"question": text, "answer": "Yes" if right else "No"}


def alone_in_quarter(scene: Scene, rng: np.random.Generator) -> PlacedPicture | None:
    """A thing whose quarter of the image holds no other; None if any lies near a middle line."""
    if None in [quadrant(each, IMAGE_SIZE) for each in scene.pictures]:
        return None
    alone = singled_out(scene.pictures, lambda each: quadrant(each, IMAGE_SIZE))
    alone = [each for each in alone if each in unique_pictures(scene)]
    return choose(alone, 1, rng)[0] if alone else None


_KINDS = (where, where, what, half)
