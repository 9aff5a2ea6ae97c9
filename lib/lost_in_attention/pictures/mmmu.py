"""Kinds, uses and abilities by subject: questions in MMMU's schema.

A question names no thing: it must be seen what is there, and known what can be said of it.
"""

import numpy as np

from lost_in_attention.pictures.facts import absent_nouns, filled, nouns_of
from lost_in_attention.pictures.knowledge import Property, countable_properties, properties
from lost_in_attention.pictures.scenes import Scene
from lost_in_attention.worlds.facts import choose
from lost_in_attention.worlds.subjects import MARKER, Question, by_letter, by_word

_OPEN_SHARE = 0.3
_COUNT_SHARE = 0.15


def question(scene: Scene, rng: np.random.Generator) -> Question | None:
    """Subject, question, options (a list as a string), answer, question_type and subfield."""
    if rng.random() < _COUNT_SHARE:
        return counted(scene, rng)
    found = held(scene, rng)
    if found is None:
        return None
    holder, answer = found
    text = f"{MARKER}Which thing in the image {holder.asked}?"
    if rng.random() < _OPEN_SHARE:
        return by_word(holder.subject, holder.field, text, answer)
    others = wrong_options(holder, answer, scene, rng)
    return by_letter(holder.subject, holder.field, text, answer, others, rng)


def held(scene: Scene, rng: np.random.Generator) -> tuple[Property, str] | None:
    """A property that one thing of the scene has, and that thing."""
    for each in choose(properties(), len(properties()), rng):
        answer = each.singles_out(nouns_of(scene))
        if answer:
            return each, answer
    return None


def wrong_options(
    holder: Property, answer: str, scene: Scene, rng: np.random.Generator
) -> list[str]:
    """Two things that have the property but are not there, and one that is there without it."""
    also = [noun for noun in absent_nouns(scene) if noun in holder.nouns]
    there = [noun for noun in holder.lacking(nouns_of(scene)) if noun != answer]
    chosen = choose(also, min(2, len(also)), rng) + choose(there, min(1, len(there)), rng)
    rest = [noun for noun in there if noun not in chosen]
    return chosen + filled(rest, 3 - len(chosen), scene, rng)


def counted(scene: Scene, rng: np.random.Generator) -> Question | None:
    """How many things have a property that none of the scene's things has disputably."""
    nouns = [picture.noun for picture in scene.pictures]
    clear = [
        p for p in countable_properties() if not p.disputed & set(nouns) and p.nouns & set(nouns)
    ]
    if not clear:
        return None
    [kind] = choose(clear, 1, rng)
    number = sum(noun in kind.nouns for noun in nouns)
    return by_word("Math", "Counting", f"{MARKER}How many {kind.plural} are there?", str(number))
