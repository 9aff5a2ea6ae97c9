"""Scenes: several handwritten digits in colour on a plain or textured ground.

A scene is drawn from a theme, a small group of digits that like to appear
together.  Themes give the scenes what photographs have and random collages
lack: some objects are common, and some predict others, so that a model can
guess from habit and adversarial questions can catch it guessing.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from PIL import Image

from lost_in_attention.digits.glyphs import Glyphs, load_glyphs
from lost_in_attention.worlds.scenery import (
    GROUNDS,
    Box,
    Painted,
    Parts,
    Thing,
    as_pixels,
    paint,
    pattern,
    place,
)

IMAGE_SIZE = 96
DIGIT_NAMES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
)  # fmt: skip
COLOURS = {
    "red": (228, 52, 48),
    "green": (64, 190, 76),
    "blue": (70, 120, 245),
    "yellow": (245, 220, 60),
    "purple": (170, 80, 215),
    "orange": (245, 145, 40),
    "cyan": (70, 215, 225),
    "white": (245, 245, 245),
}
THEMES = ((1, 7, 4, 9), (3, 8, 5, 2), (0, 6, 9, 5), (2, 7, 3, 1), (8, 6, 0, 4))
THEME_WEIGHTS = (0.30, 0.25, 0.20, 0.15, 0.10)
THEME_SHARE = 0.8

HEIGHTS = (18, 30)
_DIGITS_PER_SCENE = (3, 6)
_LEAST_DISTINCT = 3
GAP = 2


@dataclass(frozen=True)
class PlacedDigit(Thing):
    """One digit of a scene. `box` is (x, y, width, height) in pixels, as in COCO;
    `source` is the image's index in scikit-learn's data."""

    digit: int
    colour: str
    box: Box
    source: int

    @property
    def name(self) -> str:
        """ "seven", without its colour."""
        return DIGIT_NAMES[self.digit]


@dataclass(frozen=True)
class Scene(Painted):
    """A painted scene; `theme` is None for digits in a row."""

    digits: tuple[PlacedDigit, ...]
    theme: int | None
    ground: str

    @property
    def things(self) -> tuple[PlacedDigit, ...]:
        """The digits."""
        return self.digits


@dataclass(frozen=True)
class Sketch(Parts):
    """A scene's parts: the painted ground, and each digit with its ink (`stamps`)."""

    things: tuple[PlacedDigit, ...]
    theme: int | None
    ground: str

    def painted(self) -> Scene:
        """The scene of these parts."""
        canvas = self.canvas.copy()
        for digit, ink in zip(self.things, self.stamps, strict=True):
            paint(canvas, digit.box, ink[..., None], np.array(COLOURS[digit.colour]))
        return Scene(as_pixels(canvas), self.things, self.theme, self.ground)


def make_scenes(
    count: int, *, split: str, seed: int, first: int = 0, augment: bool = False
) -> Iterator[Scene]:
    """Scenes `first` to `first + count - 1` of the endless row that `split` and `seed` name.

    Scene i depends on (split, seed, i) alone.  With `augment`, digits are turned,
    sheared and stretched a little.  Raises ValueError on an unknown split.
    """
    glyphs = load_glyphs(split)
    for index in range(first, first + count):
        yield make_scene(glyphs, np.random.default_rng([seed, index]), augment=augment)


def make_scene(glyphs: Glyphs, rng: np.random.Generator, *, augment: bool = False) -> Scene:
    """One scene of 3 to 6 digits, at least 3 of them different, none overlapping."""
    return draw_sketch(glyphs, rng, augment=augment).painted()


def draw_sketch(glyphs: Glyphs, rng: np.random.Generator, *, augment: bool = False) -> Sketch:
    """A scene before it is painted, so that twins of it can differ in one thing."""
    theme = int(rng.choice(len(THEMES), p=THEME_WEIGHTS))
    ground = str(rng.choice(GROUNDS))
    values = _draw_values(theme, rng)
    stamps, sources = [], []
    for value in values:
        stamp, source = draw_stamp(glyphs, value, HEIGHTS, rng, augment=augment)
        stamps.append(stamp)
        sources.append(source)
    boxes = place([stamp.shape for stamp in stamps], IMAGE_SIZE, GAP, rng)
    canvas = paint_ground(ground, rng)
    colours = [str(rng.choice(list(COLOURS))) for _ in values]
    return Sketch(canvas, tuple(stamps), _placed(values, colours, boxes, sources), theme, ground)


def draw_stamp(
    glyphs: Glyphs,
    value: int,
    heights: tuple[int, int],
    rng: np.random.Generator,
    *,
    augment: bool,
) -> tuple[Float[np.ndarray, "height width"], int]:
    """The ink of one handwritten `value` and its index in the source.

    Its height in pixels lies in `heights`, the second number excluded.
    """
    glyph = int(rng.choice(glyphs.of_digit(value)))
    height = int(rng.integers(*heights))
    return _stamp(glyphs.ink[glyph], height, rng, augment), int(glyphs.source[glyph])


def _placed(values, colours, boxes, sources) -> tuple[PlacedDigit, ...]:
    parts = zip(values, colours, boxes, sources, strict=True)
    return tuple(PlacedDigit(*part) for part in parts)


def _draw_values(theme: int, rng: np.random.Generator) -> list[int]:
    count = int(rng.integers(_DIGITS_PER_SCENE[0], _DIGITS_PER_SCENE[1] + 1))
    while True:
        values = [
            int(rng.choice(THEMES[theme])) if rng.random() < THEME_SHARE else int(rng.integers(10))
            for _ in range(count)
        ]
        if len(set(values)) >= _LEAST_DISTINCT:
            return values


def _stamp(
    ink: Float[np.ndarray, "8 8"], height: int, rng: np.random.Generator, augment: bool
) -> Float[np.ndarray, "height width"]:
    """The digit's ink, cropped to what is written and scaled to `height` pixels."""
    picture = Image.fromarray((ink * 255).astype(np.uint8)).resize((32, 32), Image.BICUBIC)
    padded = Image.new("L", (48, 48))
    padded.paste(picture, (8, 8))
    if augment:
        padded = padded.transform((48, 48), Image.AFFINE, _small_affine(rng), Image.BILINEAR)
    written = padded.point(lambda value: 255 * (value > 64)).getbbox()
    cropped = padded.crop(written)
    width = max(6, round(height * cropped.width / cropped.height))
    return np.asarray(cropped.resize((width, height), Image.BICUBIC), dtype=np.float64) / 255


def _small_affine(rng: np.random.Generator) -> tuple[float, ...]:
    """A turn of up to 12 degrees, a shear and a stretch, about the centre of 48 x 48."""
    turn, shear = rng.uniform(-0.21, 0.21), rng.uniform(-0.15, 0.15)
    stretch = rng.uniform(0.9, 1.1)
    a, b = stretch * np.cos(turn), -np.sin(turn) + shear
    d, e = np.sin(turn), np.cos(turn) / stretch
    return a, b, 24 - 24 * (a + b), d, e, 24 - 24 * (d + e)


def paint_ground(kind: str, rng: np.random.Generator) -> Float[np.ndarray, "96 96 3"]:
    """A dark ground of two colours."""
    base, other = rng.uniform(10, 60, 3), rng.uniform(10, 60, 3)
    return base + pattern(kind, IMAGE_SIZE, rng)[..., None] * (other - base)
