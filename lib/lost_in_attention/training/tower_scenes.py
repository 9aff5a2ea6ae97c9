"""The scenes that the tower is trained on: crowded, turned, recoloured, half hidden, blurred.

Every drawing differs from its source, because a tower that has seen six drawings of a noun
should recognise a seventh.  How much it differs is a `strength` from 0 (not at all) to 1.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image, ImageFilter

from lost_in_attention.pictures.drawings import Drawing, load_drawings, rasterised
from lost_in_attention.pictures.scenes import (
    IMAGE_SIZE,
    arrange,
    as_stamp,
    paint_ground,
    stick,
)
from lost_in_attention.worlds.scenery import GROUNDS, Box, place

TOKENS = 8
_TOKEN = IMAGE_SIZE // TOKENS
NOTHING, UNCLEAR = -1, -2
_SIZES = (20, 64)
_COVERED = 0.45
_OVERLAP = 5
_LEAST, _CLEAR = 0.08, 0.25
# Luminance, and two axes of colour: turning them about the first changes the hue alone.
_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
_RGB = np.linalg.inv(_YIQ)


class LabelledScene(NamedTuple):
    """A picture, and for each of its 8 x 8 visual tokens the index of the noun that it shows.

    NOTHING where no drawing reaches, UNCLEAR where one covers a little.
    """

    pixels: UInt8[np.ndarray, "128 128 3"]
    labels: Int[np.ndarray, " 64"]


def crowded_scene(
    split: str, nouns: tuple[str, ...], strength: float, rng: np.random.Generator
) -> LabelledScene:
    """As many changed drawings as fit, of nouns that are all equally likely."""
    drawings = load_drawings(split)
    canvas = _mixed_ground(rng)
    chosen, stamps, area = [], [], 0.0
    while area < _COVERED * IMAGE_SIZE**2:
        drawing = drawings.draw(drawings.nouns[rng.integers(len(drawings.nouns))], rng)
        stamp = _changed(drawing, strength, rng)
        chosen.append(nouns.index(drawing.noun))
        stamps.append(stamp)
        area += stamp.shape[0] * stamp.shape[1]
    boxes = place([s.shape[:2] for s in stamps[:-1]], IMAGE_SIZE, -_OVERLAP, rng)
    owners = np.full((IMAGE_SIZE, IMAGE_SIZE), NOTHING)
    for noun, stamp, box in zip(chosen, stamps, boxes, strict=False):
        stick(canvas, stamp, box)
        _own(owners, noun, stamp, box)
    return LabelledScene(_photographed(canvas, strength, rng), token_labels(owners))


def plain_scene(split: str, nouns: tuple[str, ...], rng: np.random.Generator) -> LabelledScene:
    """Two to six unchanged drawings of different nouns, all equally likely."""
    drawings = load_drawings(split)
    chosen = rng.choice(len(drawings.nouns), rng.integers(2, 7), replace=False)
    sketch = arrange([drawings.draw(drawings.nouns[i], rng) for i in chosen], rng)
    owners = np.full((IMAGE_SIZE, IMAGE_SIZE), NOTHING)
    for picture, stamp in zip(sketch.things, sketch.stamps, strict=True):
        _own(owners, nouns.index(picture.noun), stamp, picture.box)
    return LabelledScene(sketch.painted().pixels, token_labels(owners))


def _own(owners: Int[np.ndarray, "128 128"], noun: int, stamp: np.ndarray, box: Box) -> None:
    x, y, width, height = box
    owners[y : y + height, x : x + width][stamp[..., 3] > 127] = noun


def token_labels(owners: Int[np.ndarray, "128 128"]) -> Int[np.ndarray, " 64"]:
    """The noun that most of a token's pixels show, if a quarter of them shows it."""
    cells = owners.reshape(TOKENS, _TOKEN, TOKENS, _TOKEN).swapaxes(1, 2).reshape(TOKENS**2, -1)
    labels = []
    for cell in cells:
        shown, counts = np.unique(cell[cell != NOTHING], return_counts=True)
        share = counts.max(initial=0) / _TOKEN**2
        clear = UNCLEAR if share > _LEAST else NOTHING
        labels.append(shown[counts.argmax()] if share >= _CLEAR else clear)
    return np.array(labels)


def _mixed_ground(rng: np.random.Generator) -> Float[np.ndarray, "128 128 3"]:
    """One ground, or the mean of two."""
    ground = paint_ground(str(rng.choice(GROUNDS)), rng)
    if rng.random() < 0.5:
        return ground
    return (ground + paint_ground(str(rng.choice(GROUNDS)), rng)) / 2


def _changed(
    drawing: Drawing, strength: float, rng: np.random.Generator
) -> Float[np.ndarray, "height width 4"]:
    """A stamp of the drawing that is mirrored, turned, stretched, recoloured or half hidden."""
    picture = _bent(rasterised(drawing), strength, rng)
    size = int(np.exp(rng.uniform(*np.log(_SIZES))))
    stamp = as_stamp(picture, size)
    stamp[..., :3] = _recoloured(stamp[..., :3], strength, rng)
    if rng.random() < 0.25 * strength:
        _hide(stamp, rng)
    return stamp


def _bent(picture: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """Mirrored half of the time; turned by up to 30 degrees, sheared and stretched a little."""
    if rng.random() < 0.5 * strength:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    turn, shear = (
        strength * rng.uniform(-0.5, 0.5) * rng.random(),
        strength * rng.uniform(-0.2, 0.2),
    )
    stretch = np.exp(strength * rng.uniform(-0.25, 0.25))
    matrix = np.array([[np.cos(turn), -np.sin(turn) + shear], [np.sin(turn), np.cos(turn)]])
    matrix *= np.array([[stretch], [1 / stretch]])
    side = int(1.5 * max(picture.size))
    offset = np.array(picture.size) / 2 - matrix @ (side / 2, side / 2)
    data = (*matrix[0], offset[0], *matrix[1], offset[1])
    bent = picture.transform((side, side), Image.Transform.AFFINE, data, Image.Resampling.BILINEAR)
    return bent.crop(bent.getchannel("A").point(lambda alpha: 255 * (alpha > 32)).getbbox())


def _recoloured(
    colours: Float[np.ndarray, "height width 3"], strength: float, rng: np.random.Generator
) -> Float[np.ndarray, "height width 3"]:
    """Another hue, saturation, contrast and brightness; one drawing in ten is grey."""
    turn = strength * (rng.normal(0, 0.35) if rng.random() < 0.8 else rng.uniform(-np.pi, np.pi))
    grey = rng.random() < 0.1 * strength
    saturation = 0.0 if grey else np.exp(strength * rng.uniform(-0.7, 0.4))
    cos, sin = saturation * np.cos(turn), saturation * np.sin(turn)
    contrast = np.exp(strength * rng.uniform(-0.4, 0.3))
    matrix = contrast * _RGB @ np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]]) @ _YIQ
    shifted = (colours - 128) @ matrix.T.astype(np.float32) + 128 + strength * rng.normal(0, 20)
    return np.clip(shifted, 0, 255)


def _hide(stamp: Float[np.ndarray, "height width 4"], rng: np.random.Generator) -> None:
    """Makes a rectangle of up to half of each side invisible."""
    height, width = stamp.shape[:2]
    tall, wide = (int(rng.uniform(0.2, 0.5) * side) for side in (height, width))
    y, x = rng.integers(height - tall + 1), rng.integers(width - wide + 1)
    stamp[y : y + tall, x : x + wide, 3] = 0


def _photographed(
    canvas: Float[np.ndarray, "128 128 3"], strength: float, rng: np.random.Generator
) -> UInt8[np.ndarray, "128 128 3"]:
    """Sometimes blurred, sometimes grainy."""
    if rng.random() < 0.3 * strength:
        canvas = canvas + rng.normal(0, rng.uniform(2, 15), canvas.shape)
    picture = Image.fromarray(canvas.round().clip(0, 255).astype(np.uint8))
    if rng.random() < 0.3 * strength:
        picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.0)))
    return np.asarray(picture)
