"""Scenes: several drawings of different sizes on a plain, shaded or textured ground."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from PIL import Image

from lost_in_attention.pictures.drawings import Drawing, rasterised
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

IMAGE_SIZE = 128
SIZES = (24, 48)
GAP = 2
_CONTRAST = 45
_ROOM = 0.42 * IMAGE_SIZE**2


@dataclass(frozen=True)
class PlacedPicture(Thing):
    """One drawing of a scene. `box` is (x, y, width, height) in pixels, as in COCO."""

    noun: str
    artist: str
    box: Box

    @property
    def name(self) -> str:
        """The noun."""
        return self.noun


@dataclass(frozen=True)
class Scene(Painted):
    """`layout` says how the drawings are arranged: free, or as one of `layouts.LAYOUTS`."""

    pictures: tuple[PlacedPicture, ...]
    ground: str
    layout: str

    @property
    def things(self) -> tuple[PlacedPicture, ...]:
        """The drawings."""
        return self.pictures


@dataclass(frozen=True)
class Sketch(Parts):
    """A scene's parts: the painted ground, and each drawing as it will stand in its box.

    A stamp is RGB and opacity, from 0 to 255.
    """

    things: tuple[PlacedPicture, ...]
    ground: str
    layout: str

    def painted(self) -> Scene:
        """The scene of these parts."""
        canvas = self.canvas.copy()
        for picture, stamp in zip(self.things, self.stamps, strict=True):
            stick(canvas, stamp, picture.box)
        return Scene(as_pixels(canvas), self.things, self.ground, self.layout)


def arrange(
    drawings: Sequence[Drawing],
    rng: np.random.Generator,
    *,
    sizes: tuple[int, int] = SIZES,
    layout: str = "free",
) -> Sketch:
    """The drawings somewhere on a ground, none overlapping.

    The longer side of each, in pixels, lies in `sizes`, the second number excluded; where that
    leaves too little room, all are made smaller alike.
    """
    ground = str(rng.choice(GROUNDS))
    canvas = paint_ground(ground, rng)
    sides = rng.integers(*sizes, len(drawings))
    sides = sides * min(1, np.sqrt(_ROOM / (sides**2).sum()))
    stamps = [as_stamp(rasterised(d), int(side)) for d, side in zip(drawings, sides, strict=True)]
    boxes = place([stamp.shape[:2] for stamp in stamps], IMAGE_SIZE, GAP, rng)
    return Sketch(canvas, tuple(stamps), placed(drawings, boxes), ground, layout)


def placed(drawings: Sequence[Drawing], boxes: Sequence[Box]) -> tuple[PlacedPicture, ...]:
    """Each drawing in its box."""
    pairs = zip(drawings, boxes, strict=True)
    return tuple(PlacedPicture(each.noun, each.artist, box) for each, box in pairs)


def as_stamp(picture: Image.Image, size: int) -> Float[np.ndarray, "height width 4"]:
    """The picture with its longer side of `size` pixels."""
    scale = size / max(picture.size)
    shape = tuple(max(4, round(scale * side)) for side in picture.size)
    return np.asarray(picture.resize(shape, Image.Resampling.BICUBIC), dtype=np.float32)


def paint_ground(kind: str, rng: np.random.Generator) -> Float[np.ndarray, "128 128 3"]:
    """A ground of two colours that are not far from each other."""
    base = rng.uniform(0, 255, 3)
    other = np.clip(base + rng.uniform(-_CONTRAST, _CONTRAST, 3), 0, 255)
    share = pattern(kind, IMAGE_SIZE, rng)[..., None]
    return (base + share * (other - base)).astype(np.float32)


def stick(
    canvas: Float[np.ndarray, "128 128 3"], stamp: Float[np.ndarray, "height width 4"], box: Box
) -> None:
    """Lay a stamp over what a box shows."""
    paint(canvas, box, stamp[..., 3:] / 255, stamp[..., :3])
