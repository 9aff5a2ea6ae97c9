"""Which things a scene shows, and how they are arranged."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from lost_in_attention.pictures.drawings import Drawing, Drawings, load_drawings, rasterised
from lost_in_attention.pictures.knowledge import countable_properties, may_be_named
from lost_in_attention.pictures.scenes import (
    IMAGE_SIZE,
    SIZES,
    Scene,
    Sketch,
    arrange,
    as_stamp,
    paint_ground,
    placed,
)
from lost_in_attention.pictures.settings import SETTINGS, SHARE, WEIGHTS
from lost_in_attention.pictures.words import UNCOUNTED
from lost_in_attention.worlds.facts import choose
from lost_in_attention.worlds.scenery import GROUNDS

_KINDS = (3, 5)
_COPIED_SHARE = 0.3
_MANY, _SMALL = 6, (24, 36)
CELL = 32
_CELLS = IMAGE_SIZE // CELL
_IN_CELL = (22, 29)
_MOST = 4
_THREE = 3


def make_scenes(count: int, *, split: str, seed: int) -> Iterator[Scene]:
    """Scene i depends on (split, seed, i) alone.  Raises ValueError on an unknown split."""
    drawings = load_drawings(split)
    for index in range(count):
        yield draw_sketch(drawings, np.random.default_rng([seed, index])).painted()


def draw_sketch(drawings: Drawings, rng: np.random.Generator) -> Sketch:
    """Three to five different things that keep company; three in ten with one or two copies."""
    nouns = _company(drawings, int(rng.integers(_KINDS[0], _KINDS[1] + 1)), rng)
    countable = [noun for noun in nouns if noun not in UNCOUNTED]
    if countable and rng.random() < _COPIED_SHARE:
        nouns += choose(countable, 1, rng) * int(rng.integers(1, 3))
    return _scattered(nouns, drawings, rng)


def counted_sketch(drawings: Drawings, rng: np.random.Generator) -> Sketch:
    """Two or three different things, one to four of each, seven in all at most."""
    nouns = _among(_countable(drawings), int(rng.integers(2, 4)), rng)
    while True:
        counts = rng.integers(1, _MOST + 1, len(nouns))
        if len(nouns) < counts.sum() <= _MANY + 1:
            break
    repeated = np.repeat(nouns, counts).tolist()
    return _scattered(repeated, drawings, rng, layout="counted")


def odd_sketch(drawings: Drawings, rng: np.random.Generator) -> Sketch:
    """Three things of one kind and one that is not of it."""
    drawn = set(drawings.nouns)
    [kind] = choose(
        [each for each in countable_properties() if len(each.nouns & drawn) > _THREE], 1, rng
    )
    nouns = _among(sorted(kind.nouns & drawn), _THREE, rng)
    nouns += choose(kind.lacking(drawings.nouns), 1, rng)
    return _scattered(nouns, drawings, rng, layout="odd")


def row_sketch(drawings: Drawings, rng: np.random.Generator) -> Sketch:
    """Three different things side by side."""
    return _grid([_among(drawings.nouns, 3, rng)], drawings, rng, "row")


def column_sketch(drawings: Drawings, rng: np.random.Generator) -> Sketch:
    """Three different things one above the other."""
    return _grid([[noun] for noun in _among(drawings.nouns, 3, rng)], drawings, rng, "column")


def table_sketch(drawings: Drawings, rng: np.random.Generator) -> Sketch:
    """Two or three rows of three different things."""
    rows = int(rng.integers(2, 4))
    nouns = _among(drawings.nouns, 3 * rows, rng)
    return _grid([nouns[3 * i : 3 * i + 3] for i in range(rows)], drawings, rng, "table")


def chart_sketch(drawings: Drawings, rng: np.random.Generator) -> Sketch:
    """Three rows; each repeats one thing, as often as no other row does."""
    nouns = _among(_countable(drawings), 3, rng)
    counts = choose(range(1, _MOST + 1), 3, rng)
    rows = [[noun] * count for noun, count in zip(nouns, counts, strict=True)]
    return _grid(rows, drawings, rng, "chart")


LAYOUTS = {
    "free": draw_sketch,
    "counted": counted_sketch,
    "odd": odd_sketch,
    "row": row_sketch,
    "column": column_sketch,
    "table": table_sketch,
    "chart": chart_sketch,
}


def cell(thing_centre: tuple[float, float]) -> tuple[int, int]:
    """Row and column, from 0, of a place in the grid that tables and charts lie on."""
    x, y = thing_centre
    return int(y // CELL), int(x // CELL)


def _company(drawings: Drawings, count: int, rng: np.random.Generator) -> list[str]:
    """Different nouns; three of four come from one setting."""
    setting = list(SETTINGS.values())[rng.choice(len(SETTINGS), p=WEIGHTS)]
    usual = [noun for noun in setting if noun in drawings.nouns]
    return _different(
        count, lambda: choose(usual if rng.random() < SHARE else drawings.nouns, 1, rng)[0]
    )


def _among(nouns: Sequence[str], count: int, rng: np.random.Generator) -> list[str]:
    """Different nouns, all equally likely."""
    return _different(count, lambda: choose(nouns, 1, rng)[0])


def _different(count: int, draw: Callable[[], str]) -> list[str]:
    """Draws until there are `count` nouns; no two of them go by one name."""
    nouns: list[str] = []
    while len(nouns) < count:
        noun = draw()
        if noun not in nouns and may_be_named(noun, nouns):
            nouns.append(noun)
    return nouns


def _countable(drawings: Drawings) -> list[str]:
    return [noun for noun in drawings.nouns if noun not in UNCOUNTED]


def _drawn(nouns: Sequence[str], drawings: Drawings, rng: np.random.Generator) -> list[Drawing]:
    return [drawings.draw(noun, rng) for noun in nouns]


def _scattered(
    nouns: Sequence[str], drawings: Drawings, rng: np.random.Generator, layout: str = "free"
) -> Sketch:
    sizes = SIZES if len(nouns) < _MANY else _SMALL
    return arrange(_drawn(nouns, drawings, rng), rng, sizes=sizes, layout=layout)


def _grid(
    rows: Sequence[Sequence[str]], drawings: Drawings, rng: np.random.Generator, layout: str
) -> Sketch:
    """Rows of things in cells of 32 pixels, from a place that leaves room for all."""
    top = int(rng.integers(_CELLS - len(rows) + 1))
    left = int(rng.integers(_CELLS - max(map(len, rows)) + 1))
    drawn = [drawing for row in rows for drawing in _drawn(row, drawings, rng)]
    cells = [(top + y, left + x) for y, row in enumerate(rows) for x in range(len(row))]
    stamps = [as_stamp(rasterised(each), int(rng.integers(*_IN_CELL))) for each in drawn]
    boxes = []
    for (y, x), stamp in zip(cells, stamps, strict=True):
        height, width = stamp.shape[:2]
        boxes.append(
            (x * CELL + (CELL - width) // 2, y * CELL + (CELL - height) // 2, width, height)
        )
    ground = str(rng.choice(GROUNDS))
    canvas = paint_ground(ground, rng)
    return Sketch(canvas, tuple(stamps), placed(drawn, boxes), ground, layout)
