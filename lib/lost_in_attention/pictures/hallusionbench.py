"""The same questions on a picture and on its edited twin, in HallusionBench's schema."""

import numpy as np

from lost_in_attention.pictures.drawings import Drawings
from lost_in_attention.pictures.facts import absent_nouns, nouns_of, unique_pictures
from lost_in_attention.pictures.pope import existence_question
from lost_in_attention.pictures.scenes import Scene, Sketch
from lost_in_attention.pictures.variants import exchanged
from lost_in_attention.worlds.facts import choose
from lost_in_attention.worlds.scenery import without
from lost_in_attention.worlds.schemas import Twin


def twin(sketch: Sketch, drawings: Drawings, rng: np.random.Generator) -> Twin | None:
    """One thing is exchanged for another, or taken away; three questions on both pictures."""
    scene = sketch.painted()
    if len(unique_pictures(scene)) < 2:
        return None
    picture, other = choose(unique_pictures(scene), 2, rng)
    index = sketch.things.index(picture)
    known = [noun for noun in absent_nouns(scene) if noun in drawings.nouns]
    [absent] = choose(known, 1, rng)
    asked = [existence_question(noun) for noun in (picture.noun, absent)]
    if rng.random() < 0.5:
        edited = exchanged(sketch, index, drawings.draw(absent, rng)).painted()
        return Twin("exchange", (scene, edited), [*asked, existence_question(other.noun)])
    edited = without(sketch, index).painted()
    return Twin("presence", (scene, edited), [*asked, are_there(len(scene.pictures))])


def are_there(number: int) -> str:
    """ "Are there exactly 4 things in the image?"."""
    return f"Are there exactly {number} things in the image?"


def holds(asked: str, scene: Scene) -> bool:
    """Whether the answer to a question of these kinds is yes."""
    if asked.startswith("Are"):
        return asked == are_there(len(scene.pictures))
    return any(asked == existence_question(noun) for noun in nouns_of(scene))
