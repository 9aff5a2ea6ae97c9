"""What scenes of every world share: patterned grounds, and places for boxes that keep apart."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from jaxtyping import Float, Shaped, UInt8
from PIL import Image

GROUNDS = ("plain", "gradient", "stripes", "checks", "grain")
_TRIES, _STARTS = 40, 10_000

Box = tuple[int, int, int, int]


class Thing:
    """What a scene shows somewhere: a digit, a drawing.  `box` is (x, y, width, height)."""

    box: Box

    @property
    def name(self) -> str:
        """How questions call it."""
        raise NotImplementedError

    @property
    def centre(self) -> tuple[float, float]:
        """Of the box, in pixels."""
        x, y, width, height = self.box
        return x + width / 2, y + height / 2


T = TypeVar("T", bound=Thing)


@dataclass(frozen=True)
class Painted:
    """A scene as it is shown; each world adds what stands in it."""

    pixels: UInt8[np.ndarray, "size size 3"]

    @property
    def image(self) -> Image.Image:
        """The scene as a picture."""
        return Image.fromarray(self.pixels)

    @property
    def things(self) -> tuple[Thing, ...]:
        """What stands in it."""
        raise NotImplementedError


@dataclass(frozen=True)
class Parts:
    """A scene before it is painted: the ground, and each thing with its stamp.

    A stamp is as large as the thing's box; each world says what else it holds.
    """

    canvas: Float[np.ndarray, "size size 3"]
    stamps: tuple[np.ndarray, ...]
    things: tuple[Thing, ...]


P = TypeVar("P", bound=Parts)


def without(parts: P, index: int) -> P:
    """The same parts less one thing."""
    return replace(
        parts,
        stamps=parts.stamps[:index] + parts.stamps[index + 1 :],
        things=parts.things[:index] + parts.things[index + 1 :],
    )


def mirrored(things: Sequence[T], size: int) -> tuple[T, ...]:
    """The things where they stand in the mirrored picture of `size` pixels."""
    boxes = [thing.box for thing in things]
    turned = [(size - x - width, y, width, height) for x, y, width, height in boxes]
    return tuple(replace(each, box=box) for each, box in zip(things, turned, strict=True))


def paint(
    canvas: Float[np.ndarray, "size size 3"],
    box: Box,
    opacity: Float[np.ndarray, "height width 1"],
    colour: Shaped[np.ndarray, "..."],
) -> None:
    """Lay a colour, or one for each pixel, over what a box shows; opacity from 0 to 1."""
    x, y, width, height = box
    area = canvas[y : y + height, x : x + width]
    area += opacity * (colour - area)


def as_pixels(canvas: Float[np.ndarray, "size size 3"]) -> UInt8[np.ndarray, "size size 3"]:
    """Rounded, and cut at 0 and 255."""
    return canvas.round().clip(0, 255).astype(np.uint8)


def pattern(kind: str, size: int, rng: np.random.Generator) -> Shaped[np.ndarray, "size size"]:
    """How much of a second colour each pixel of a ground has, from 0 to 1.

    `kind` is one of `GROUNDS`; `size` is a multiple of 4.
    """
    rows, columns = np.mgrid[:size, :size]
    angle, period = rng.uniform(0, np.pi), int(rng.integers(8, 24))
    along = rows * np.sin(angle) + columns * np.cos(angle)
    if kind == "plain":
        return np.zeros((size, size))
    if kind == "gradient":
        return (along - along.min()) / (along.max() - along.min())
    if kind == "stripes":
        return (along // (period / 2)) % 2
    if kind == "checks":
        return (rows // period + columns // period) % 2.0
    return np.kron(rng.integers(0, 4, (size // 4, size // 4)) / 3, np.ones((4, 4)))


def place(
    shapes: Sequence[tuple[int, int]], size: int, gap: int, rng: np.random.Generator
) -> list[Box]:
    """Free positions for boxes of the given (height, width), by rejection; starts over if stuck.

    Boxes (x, y, width, height) keep `gap` pixels from each other, or overlap by as many if it is
    negative; from the border of the `size` x `size` image they keep the gap if it is positive.

    Raises ValueError if no places are found.
    """
    margin = max(gap, 0)
    for _ in range(_STARTS):
        boxes: list[Box] = []
        for height, width in shapes:
            for _ in range(_TRIES):
                x = int(rng.integers(margin, size - width - margin + 1))
                y = int(rng.integers(margin, size - height - margin + 1))
                if all(_apart((x, y, width, height), other, gap) for other in boxes):
                    boxes.append((x, y, width, height))
                    break
        if len(boxes) == len(shapes):
            return boxes
    raise ValueError(f"shapes: expected boxes that fit into {size} pixels, got {list(shapes)}")


def _apart(a: Box, b: Box, gap: int) -> bool:
    return (
        a[0] + a[2] + gap <= b[0]
        or b[0] + b[2] + gap <= a[0]
        or a[1] + a[3] + gap <= b[1]
        or b[1] + b[3] + gap <= a[1]
    )
