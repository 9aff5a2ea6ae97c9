"""What the small models are taught to talk about: conversations on one scene.

Half of them ask questions of the seven benchmarks' kinds.  The others hold two lists:
what is where ("seven red 3 5, two blue 1 7, four no"), which digits a colour has, how two
digits lie to each other, small sums, and which letter an option has.  In a list some words
are given, in random order, and what follows each is learned: so the model must look the
digit up, and cannot scan.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from lost_in_attention.benchmarks.choices import LETTERS
from lost_in_attention.digits import COLOURS, DIGIT_NAMES, Scene
from lost_in_attention.digits.facts import (
    absent_digit,
    cell,
    unique_colours,
    unique_digits,
)
from lost_in_attention.training import tasks
from lost_in_attention.training.tasks import Style, Task, Turn
from lost_in_attention.worlds.facts import PLACES, choose, side

LISTS_PER_CONVERSATION = 2
_PAIRS = 5
_SUMS = 5
_CLEARLY_TALLER = 3


class Lesson(NamedTuple):
    """What is talked about.

    The lists that a conversation of lists draws from; the tasks of a conversation of
    questions, how many it holds, and how they are put and answered.
    """

    lists: tuple[Callable[[Scene, np.random.Generator], Turn], ...]
    tasks: tuple[Task, ...]
    questions: int
    style: Style


def list_conversation(scene: Scene, lesson: Lesson, rng: np.random.Generator) -> list[Turn]:
    """Two lists of different kinds."""
    return [make(scene, rng) for make in choose(lesson.lists, LISTS_PER_CONVERSATION, rng)]


def question_conversation(scene: Scene, lesson: Lesson, rng: np.random.Generator) -> list[Turn]:
    """A few questions, each drawn until the scene allows it."""
    turns: list[Turn] = []
    while len(turns) < lesson.questions:
        task = lesson.tasks[rng.integers(len(lesson.tasks))]
        turn = task(scene, rng, lesson.style)
        turns += [turn] if turn else []
    return turns


def digits(scene: Scene, rng: np.random.Generator) -> Turn:
    """Colour, column and row (1 to 8) of every digit; of an absent one, "no"."""
    values = rng.permutation(sorted({d.digit for d in scene.digits})).tolist()
    values.append(absent_digit(scene, rng))
    return _list("Describe the digits.", ((DIGIT_NAMES[v], where(scene, v)) for v in values))


def where(scene: Scene, value: int) -> str:
    """Colour, column and row of each such digit from left to right, or "no"."""
    found = sorted((d for d in scene.digits if d.digit == value), key=lambda d: d.centre)
    return " and ".join(f"{d.colour} {cell(d)[0]} {cell(d)[1]}" for d in found) or "no"


def colours(scene: Scene, rng: np.random.Generator) -> Turn:
    """The digits of every colour from left to right; of an absent one, "no"."""
    present = rng.permutation(sorted({d.colour for d in scene.digits})).tolist()
    absent = [c for c in COLOURS if c not in present]
    names = [*present, *choose(absent, 1, rng)]
    return _list("Describe the colours.", ((name, _coloured(scene, name)) for name in names))


def pairs(scene: Scene, rng: np.random.Generator) -> Turn:
    """How one digit lies to another, whether it is taller, and whether its value is higher."""
    known = unique_digits(scene)
    drawn = [choose(known, 2, rng) for _ in range(_PAIRS)] if len(known) > 1 else []
    return _list("Compare the digits.", ((f"{a.name} {b.name}", _compared(a, b)) for a, b in drawn))


def sums(scene: Scene, rng: np.random.Generator) -> Turn:
    """A coloured digit, and it plus or minus a small number or another digit."""
    known = unique_colours(scene)
    items = []
    for _ in range(_SUMS if len(known) > 1 else 0):
        one, other = choose(known, 2, rng)
        number = int(rng.integers(1, 4))
        kind = rng.integers(3)
        if kind == 0:
            items.append((f"{one.colour} plus {number}", str(one.digit + number)))
        elif kind == 1 and one.digit >= number:
            items.append((f"{one.colour} minus {number}", str(one.digit - number)))
        else:
            items.append((f"{one.colour} {other.colour} sum", str(one.digit + other.digit)))
    return _list("Add the digits.", items)


def letters(scene: Scene, rng: np.random.Generator) -> Turn:
    """Which letter an option has; needs no image."""
    kinds = (tuple(COLOURS), DIGIT_NAMES, PLACES, tuple(map(str, range(10))))
    texts = choose(kinds[rng.integers(len(kinds))], len(LETTERS), rng)
    options = dict(zip(texts, LETTERS, strict=True))
    asked = "\n".join(f"{letter}. {text}" for text, letter in options.items())
    return _list(asked, ((text, options[text]) for text in choose(texts, len(texts), rng)))


_LISTS = (digits, colours, pairs, sums, letters)
_TASKS = tuple(tasks.TASKS.values())

# Looking a digit up comes first: with all tasks at once it is learned far more slowly.  Plain
# questions are short, so that a conversation holds many.
LOOKING = Lesson((digits, letters), (tasks.pope,), questions=4, style="plain")
PLAIN = Lesson(_LISTS, _TASKS, questions=10, style="plain")
EVERYTHING = Lesson(_LISTS, _TASKS, questions=4, style="letters")
# To find an option's letter, an answer must be known and then looked up: at this size that is not
# learned in the steps given.  An option's own words are a reply that the scorers accept as well.
WORDS = EVERYTHING._replace(style="words")


def _list(asked: str, items: Iterable[tuple[str, str]]) -> Turn:
    """Items of given words and what is learned after them, parted by commas."""
    answer, given = "", []
    for words, learned in items:
        comma = ", " if answer else ""
        given.append((len(answer), len(answer) + len(comma) + len(words)))
        answer += f"{comma}{words} {learned}"
    return Turn(asked, answer or "none", tuple(given))


def _coloured(scene: Scene, colour: str) -> str:
    found = sorted((d for d in scene.digits if d.colour == colour), key=lambda d: d.centre)
    return " and ".join(d.name for d in found) or "no"


def _compared(one, other) -> str:
    difference = one.box[3] - other.box[3]
    height = "taller" if difference > 0 else "shorter"
    return " ".join(
        [
            side(one, other, 0) or "same",
            side(one, other, 1) or "same",
            "same" if abs(difference) < _CLEARLY_TALLER else height,
            "higher" if one.digit > other.digit else "lower",
        ]
    )
