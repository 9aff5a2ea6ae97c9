"""Scenes of other kinds: digits in a row, mirrored layouts, twins that differ in one thing."""

from dataclasses import replace

import numpy as np

from lost_in_attention.digits.glyphs import Glyphs
from lost_in_attention.digits.scenes import (
    COLOURS,
    GAP,
    HEIGHTS,
    IMAGE_SIZE,
    PlacedDigit,
    Scene,
    Sketch,
    draw_stamp,
    paint_ground,
)
from lost_in_attention.worlds import scenery
from lost_in_attention.worlds.scenery import GROUNDS

ROW_LENGTH = 3


def make_row(glyphs: Glyphs, rng: np.random.Generator, *, augment: bool = False) -> Scene:
    """A number of three digits, written in one colour and about one size, somewhere in the image.

    Its digits stand from left to right; it has no theme.
    """
    ground = str(rng.choice(GROUNDS))
    colour = str(rng.choice(list(COLOURS)))
    height = int(rng.integers(*HEIGHTS))
    values = rng.integers(10, size=ROW_LENGTH).tolist()
    drawn = [
        draw_stamp(glyphs, value, (height, height + 2), rng, augment=augment) for value in values
    ]
    widths = [stamp.shape[1] + GAP for stamp, _ in drawn]
    left = int(rng.integers(GAP, IMAGE_SIZE - sum(widths) + 1))
    top = int(rng.integers(GAP, IMAGE_SIZE - height - 2 * GAP))
    digits = []
    for value, (stamp, source), x in zip(values, drawn, np.cumsum([left, *widths]), strict=False):
        digits.append(PlacedDigit(value, colour, (int(x), top, *stamp.shape[::-1]), source))
    canvas = paint_ground(ground, rng)
    return Sketch(canvas, tuple(s for s, _ in drawn), tuple(digits), None, ground).painted()


def mirrored(sketch: Sketch) -> Sketch:
    """The layout from right to left; the digits themselves stay legible."""
    return replace(sketch, things=scenery.mirrored(sketch.things, IMAGE_SIZE))


def recoloured(sketch: Sketch, index: int, colour: str) -> Sketch:
    """The same sketch with digit `index` in another colour."""
    digits = list(sketch.things)
    digits[index] = replace(digits[index], colour=colour)
    return replace(sketch, things=tuple(digits))
