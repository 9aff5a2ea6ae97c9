"""The same questions on an image and on its edited twin, in HallusionBench's schema."""

import numpy as np

from lost_in_attention.digits.pope import existence_question
from lost_in_attention.digits.scenes import COLOURS, Scene, Sketch
from lost_in_attention.digits.variants import recoloured
from lost_in_attention.worlds.facts import choose
from lost_in_attention.worlds.scenery import without


def twin(sketch: Sketch, rng: np.random.Generator) -> tuple[str, Sketch, list[str]] | None:
    """What was edited ("colour" or "presence"), the edited sketch, and the questions on both."""
    values = [d.digit for d in sketch.things]
    unique = [i for i, value in enumerate(values) if values.count(value) == 1]
    if len(unique) < 2 or len(values) < 4:
        return None
    edited, other = choose(unique, 2, rng)
    if rng.random() < 0.5:
        colours = [c for c in COLOURS if c != sketch.things[edited].colour]
        [colour] = choose(colours, 1, rng)
        digit = sketch.things[edited]
        asked = [is_coloured(digit.name, c) for c in (digit.colour, colour)]
        asked.append(is_coloured(sketch.things[other].name, sketch.things[other].colour))
        return "colour", recoloured(sketch, edited, colour), asked
    asked = [existence_question(values[i]) for i in (edited, other)]
    asked.append(are_there(len(values)))
    return "presence", without(sketch, edited), asked


def question(scene: Scene, rng: np.random.Generator) -> tuple[str, str]:
    """One question of these kinds on any scene, and its answer, yes or no."""
    holds = bool(rng.integers(2))
    if rng.random() < 0.5:
        number = len(scene.digits) + (0 if holds else int(rng.choice([-1, 1])))
        return are_there(number), "yes" if holds else "no"
    [digit] = choose(scene.digits, 1, rng)
    same = {d.colour for d in scene.digits if d.digit == digit.digit}
    [other] = choose([c for c in COLOURS if c not in same], 1, rng)
    return is_coloured(digit.name, digit.colour if holds else other), "yes" if holds else "no"


def is_coloured(name: str, colour: str) -> str:
    """ "Is the seven red?"."""
    return f"Is the {name} {colour}?"


def are_there(number: int) -> str:
    """ "Are there exactly 4 digits in the image?"."""
    return f"Are there exactly {number} digits in the image?"


def holds(asked: str, scene: Scene) -> bool:
    """Whether the answer to a question of these kinds is yes."""
    words = asked.rstrip("?").split()
    names = {d.name for d in scene.digits}
    if words[0] == "Are":
        return int(words[3]) == len(scene.digits)
    if words[1] == "there":
        return words[3] in names
    return any((d.name, d.colour) == (words[2], words[3]) for d in scene.digits)
