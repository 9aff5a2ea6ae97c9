"""Several subjects, multiple choice and open: questions in MMMU's schema."""

from collections.abc import Callable

import numpy as np

from lost_in_attention.digits.facts import coloured_digit, quadrant, unique_colours
from lost_in_attention.digits.scenes import DIGIT_NAMES, Scene
from lost_in_attention.worlds.facts import choose
from lost_in_attention.worlds.subjects import MARKER, Question, by_letter, by_word


def question(scene: Scene, rng: np.random.Generator) -> Question | None:
    """Subject, question, options (a list as a string), answer, question_type and subfield."""
    kinds = tuple(KINDS.values())
    return kinds[rng.integers(len(kinds))](scene, rng)


def art(scene: Scene, rng: np.random.Generator) -> Question | None:
    """Which colour a digit has."""
    found = coloured_digit(scene, rng)
    if found is None:
        return None
    digit, others = found
    text = f"{MARKER}In which colour is the {digit.name} written?"
    return by_letter("Art", "Colour", text, digit.colour, others, rng)


def geography(scene: Scene, rng: np.random.Generator) -> Question | None:
    """Which digit lies in a quarter of the image that holds no other."""
    quarters = [quadrant(d) for d in scene.digits]
    alone = [
        d for d, place in zip(scene.digits, quarters, strict=True) if quarters.count(place) == 1
    ]
    if None in quarters or not alone:
        return None
    [digit] = choose(alone, 1, rng)
    names = [n for n in DIGIT_NAMES if n != digit.name]
    others = choose(names, 3, rng)
    text = f"{MARKER}Which digit lies in the {quadrant(digit)} part?"
    return by_letter("Geography", "Places", text, digit.name, others, rng)


def mathematics(scene: Scene, rng: np.random.Generator) -> Question | None:
    """How many digits there are, in all or of one colour."""
    colour = str(rng.choice([d.colour for d in scene.digits]))
    number, what = len(scene.digits), "digits"
    if rng.random() < 0.5:
        number, what = sum(d.colour == colour for d in scene.digits), f"{colour} digits"
    return by_word("Math", "Counting", f"{MARKER}How many {what} are there?", str(number))


def psychology(scene: Scene, rng: np.random.Generator) -> Question | None:
    """Which digit has a colour."""
    if not unique_colours(scene):
        return None
    [digit] = choose(unique_colours(scene), 1, rng)
    return by_word(
        "Psychology", "Perception", f"{MARKER}Which digit is {digit.colour}?", digit.name
    )


KINDS: dict[str, Callable[[Scene, np.random.Generator], Question | None]] = {
    "Art": art, "Geography": geography, "Math": mathematics, "Psychology": psychology,
}  # fmt: skip
