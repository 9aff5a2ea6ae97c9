"""Twenty kinds of questions with four options, in VMCBench's schema.

Each kind is a source of its own.  As in the original there are four groups of them: general
questions, reasoning, reading (here: a row of things) and documents (here: tables and charts).
"""

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import cycle, islice

import numpy as np

from lost_in_attention.pictures.drawings import Drawings
from lost_in_attention.pictures.facts import (
    absent_nouns,
    area,
    clear_extreme,
    filled,
    nouns_of,
    unique_pictures,
)
from lost_in_attention.pictures.knowledge import countable_properties
from lost_in_attention.pictures.layouts import LAYOUTS, cell
from lost_in_attention.pictures.mmmu import held, wrong_options
from lost_in_attention.pictures.realworldqa import alone_in_quarter
from lost_in_attention.pictures.scenes import IMAGE_SIZE, PlacedPicture, Scene
from lost_in_attention.pictures.words import many
from lost_in_attention.worlds.choices import Question, four, how_many
from lost_in_attention.worlds.facts import choose, quadrant

Kind = Callable[[Scene, np.random.Generator], Question | None]
_FAR = 8
_AREA = 1.25


def question(scene: Scene, rng: np.random.Generator) -> Question | None:
    """A question of one of the kinds that suit the scene's layout."""
    kinds = [ask for ask, layout in KINDS.items() if layout == scene.layout]
    return kinds[rng.integers(len(kinds))](scene, rng)


def questions(
    count: int, drawings: Drawings, rng: np.random.Generator
) -> Iterator[tuple[Scene, Question]]:
    """The kinds in turn, each on scenes of its own."""
    for ask, layout in islice(cycle(KINDS.items()), count):
        found = None
        while found is None:
            scene = LAYOUTS[layout](drawings, rng).painted()
            found = ask(scene, rng)
        yield scene, found


def seen(scene: Scene, rng: np.random.Generator) -> Question:
    """Which of four nouns is there."""
    [answer] = choose(nouns_of(scene), 1, rng)
    others = choose(absent_nouns(scene), 3, rng)
    return four("Which of these is in the image?", answer, others, "Seen", rng)


def unseen(scene: Scene, rng: np.random.Generator) -> Question:
    """Which of four nouns is not there."""
    [answer] = choose(absent_nouns(scene), 1, rng)
    others = choose(nouns_of(scene), 3, rng)
    return four("Which of these is not in the image?", answer, others, "Unseen", rng)


def count(scene: Scene, rng: np.random.Generator) -> Question | None:
    """How many things there are."""
    return how_many("How many things are in the image?", len(scene.pictures), rng)


def kind(scene: Scene, rng: np.random.Generator) -> Question | None:
    """Of several kinds only one is there; kinds of which that is disputable are not named."""
    there = set(nouns_of(scene))
    clear = [each for each in countable_properties() if not each.disputed & there]
    present = [each.plural for each in clear if each.nouns & there]
    absent = [each.plural for each in clear if not each.nouns & there]
    if not present or len(absent) < 3:
        return None
    [answer] = choose(present, 1, rng)
    text = "Things of which kind are in the image?"
    return four(text, answer, choose(absent, 3, rng), "Kind", rng)


def part(scene: Scene, rng: np.random.Generator) -> Question | None:
    """What is in a quarter of the image."""
    found = alone_in_quarter(scene, rng)
    if found is None:
        return None
    others = [noun for noun in nouns_of(scene) if noun != found.noun]
    text = f"What is in the {quadrant(found, IMAGE_SIZE)} part of the image?"
    return four(text, found.noun, filled(others, 3, scene, rng), "Part", rng)


def neighbour(scene: Scene, rng: np.random.Generator) -> Question | None:
    """What is nearest to a thing, by the distance of centres."""
    unique = unique_pictures(scene)
    if len(unique) < 2 or len(unique) < len(scene.pictures):
        return None
    [picture] = choose(unique, 1, rng)
    others = [each for each in unique if each is not picture]
    nearness = [-np.hypot(*np.subtract(each.centre, picture.centre)) for each in others]
    index = clear_extreme(nearness, _FAR)
    if index is None:
        return None
    wrong = [each.noun for each in others if each is not others[index]]
    text = f"What is nearest to the {picture.noun}?"
    return four(text, others[index].noun, filled(wrong, 3, scene, rng), "Neighbour", rng)


def use(scene: Scene, rng: np.random.Generator) -> Question | None:
    """Which thing has a property that no other has."""
    found = held(scene, rng)
    if found is None:
        return None
    holder, answer = found
    text = f"Which thing in the image {holder.asked}?"
    return four(text, answer, wrong_options(holder, answer, scene, rng), "Use", rng)


def largest(scene: Scene, rng: np.random.Generator) -> Question | None:
    """Which thing has the largest box."""
    sizes = [float(np.log(area(each))) for each in scene.pictures]
    text = "What is the largest thing in the image?"
    return _extreme(scene, sizes, np.log(_AREA), text, "Comparison", rng)


def smallest(scene: Scene, rng: np.random.Generator) -> Question | None:
    """Which thing has the smallest box."""
    sizes = [-float(np.log(area(each))) for each in scene.pictures]
    text = "What is the smallest thing in the image?"
    return _extreme(scene, sizes, np.log(_AREA), text, "Smallest", rng)


def leftmost(scene: Scene, rng: np.random.Generator) -> Question | None:
    """Which thing is farthest to the left."""
    places = [-each.centre[0] for each in scene.pictures]
    return _extreme(scene, places, _FAR, "What is farthest to the left?", "Leftmost", rng)


def topmost(scene: Scene, rng: np.random.Generator) -> Question | None:
    """Which thing is highest up."""
    places = [-each.centre[1] for each in scene.pictures]
    return _extreme(scene, places, _FAR, "What is highest up in the image?", "Topmost", rng)


def most(scene: Scene, rng: np.random.Generator) -> Question | None:
    """Which thing is there most often."""
    counts = Counter(each.noun for each in scene.pictures)
    (answer, first), (_, second), *_ = counts.most_common()
    if first == second:
        return None
    others = filled([noun for noun in counts if noun != answer], 3, scene, rng)
    return four("Which thing is there most often?", answer, others, "Most", rng)


def odd(scene: Scene, rng: np.random.Generator) -> Question | None:
    """Three things are of one kind; among the options are two of them and one that is not there."""
    nouns = nouns_of(scene)
    for each in countable_properties():
        lacking = each.lacking(nouns)
        if len(lacking) == 1 and len(each.nouns & set(nouns)) == 3:
            absent = each.lacking(absent_nouns(scene))
            inside = [noun for noun in nouns if noun in each.nouns]
            others = choose(absent, 1, rng) + choose(inside, 2, rng)
            text = "Which thing in the image is the odd one out?"
            return four(text, lacking[0], others, "Odd one out", rng)
    return None


def row(scene: Scene, rng: np.random.Generator) -> Question:
    """In which order three things stand side by side."""
    return _sequence(scene, "Which things are in the row, from left to right?", "Row", rng)


def column(scene: Scene, rng: np.random.Generator) -> Question:
    """In which order three things stand one above the other."""
    return _sequence(scene, "Which things are in the column, from top to bottom?", "Column", rng)


def table_cell(scene: Scene, rng: np.random.Generator) -> Question:
    """What is in a row and column of the table."""
    [picture] = choose(scene.pictures, 1, rng)
    line, place = _in_table(scene, picture)
    others = choose([noun for noun in nouns_of(scene) if noun != picture.noun], 3, rng)
    text = f"What is in row {line}, column {place} of the table?"
    return four(text, picture.noun, others, "Table cell", rng)


def table_row(scene: Scene, rng: np.random.Generator) -> Question:
    """In which row of the table a thing is."""
    [picture] = choose(scene.pictures, 1, rng)
    line, _ = _in_table(scene, picture)
    rows = [f"row {number}" for number in range(1, 5)]
    text = f"In which row of the table is the {picture.noun}?"
    others = [each for each in rows if each != f"row {line}"]
    return four(text, f"row {line}", others, "Table row", rng)


def chart_value(scene: Scene, rng: np.random.Generator) -> Question:
    """How many of a thing the chart shows."""
    counts = Counter(each.noun for each in scene.pictures)
    [noun] = choose(list(counts), 1, rng)
    others = [str(number) for number in range(1, 5) if number != counts[noun]]
    text = f"How many {many(noun)} does the chart show?"
    return four(text, str(counts[noun]), others, "Chart value", rng)


def chart_most(scene: Scene, rng: np.random.Generator) -> Question:
    """Of what the chart shows most."""
    ordered = [noun for noun, _ in Counter(each.noun for each in scene.pictures).most_common()]
    others = filled(ordered[1:], 3, scene, rng)
    return four("Of what does the chart show most?", ordered[0], others, "Chart most", rng)


def chart_least(scene: Scene, rng: np.random.Generator) -> Question:
    """Of what the chart shows least."""
    ordered = [noun for noun, _ in Counter(each.noun for each in scene.pictures).most_common()]
    others = filled(ordered[:-1], 3, scene, rng)
    return four("Of what does the chart show least?", ordered[-1], others, "Chart least", rng)


# The layout that each kind of question is asked on.
KINDS: dict[Kind, str] = {
    seen: "free", unseen: "free", count: "free", kind: "free", part: "free", neighbour: "free",
    use: "free", largest: "free", smallest: "free", leftmost: "free", topmost: "free",
    most: "counted", odd: "odd", row: "row", column: "column", table_cell: "table",
    table_row: "table", chart_value: "chart", chart_most: "chart", chart_least: "chart",
}  # fmt: skip


def _extreme(
    scene: Scene,
    values: list[float],
    margin: float,
    text: str,
    source: str,
    rng: np.random.Generator,
) -> Question | None:
    index = clear_extreme(values, margin)
    if index is None:
        return None
    answer = scene.pictures[index].noun
    others = [noun for noun in nouns_of(scene) if noun != answer]
    return four(text, answer, filled(others, 3, scene, rng), source, rng)


def _sequence(scene: Scene, text: str, source: str, rng: np.random.Generator) -> Question:
    """The true order among orders with two things exchanged or one that is not there."""
    nouns = [each.noun for each in scene.pictures]
    others: list[str] = []
    while len(others) < 3:
        other = list(nouns)
        place = int(rng.integers(len(nouns)))
        if rng.random() < 0.5:
            [other[place]] = choose(absent_nouns(scene), 1, rng)
        else:
            other[place], other[place - 1] = other[place - 1], other[place]
        if ", ".join(other) not in others:
            others.append(", ".join(other))
    return four(text, ", ".join(nouns), others, source, rng)


def _in_table(scene: Scene, picture: PlacedPicture) -> tuple[int, int]:
    """Row and column of a thing, from 1."""
    (top, left), (line, place) = cell(scene.pictures[0].centre), cell(picture.centre)
    return line - top + 1, place - left + 1
