"""The drawings of the world of pictures, split by artist before anything is made of them.

131 nouns, each drawn by six to eight artists (icon sets whose licences allow sharing).  Whole
artists are held out, because a model should know the noun and not the drawing.  Two sets draw every
noun and share no author with another set: Twemoji, which is held out, and EmojiOne, which is
trained on.  Firefox OS Emoji is for validation: like Twemoji it is flat and without outlines, by
one author of its own.  Google's two sets resemble each other, and so do Microsoft's two: each
pair stays on one side of the split.
"""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
import resvg_py
from PIL import Image

from lost_in_attention.runs.paths import data_folder

ARTISTS = {
    "train": (
        "noto", "noto-v1", "fluent-emoji", "fluent-emoji-flat", "emojione", "streamline-emojis",
    ),
    "validation": ("fxemoji",),
    "heldout": ("twemoji",),
}  # fmt: skip
SPLITS = tuple(ARTISTS)
RASTER_SIZE = 96


@dataclass(frozen=True)
class Drawing:
    """One noun by one artist: an SVG `body` for the view box (left, top, width, height)."""

    noun: str
    group: str
    artist: str
    icon: str
    viewbox: tuple[float, float, float, float]
    body: str


class Drawings:
    """The drawings of one split, by noun."""

    def __init__(self, drawings: Sequence[Drawing]) -> None:
        self.of_noun: dict[str, list[Drawing]] = {}
        for drawing in drawings:
            self.of_noun.setdefault(drawing.noun, []).append(drawing)

    @property
    def nouns(self) -> tuple[str, ...]:
        """The nouns that the split has drawings of."""
        return tuple(self.of_noun)

    def draw(self, noun: str, rng: np.random.Generator) -> Drawing:
        """A drawing of the noun by any of the split's artists."""
        choices = self.of_noun[noun]
        return choices[rng.integers(len(choices))]


@lru_cache
def all_drawings() -> tuple[Drawing, ...]:
    """The drawings of all splits, in the order of the file."""
    return tuple(
        Drawing(**{**row, "viewbox": tuple(row["viewbox"])}) for row in _stored("pictures")
    )


@lru_cache
def licenses() -> dict[str, str]:
    """Every artist's licence by its SPDX name."""
    return {artist["key"]: artist["license"] for artist in _stored("artists")}


def _stored(part: str) -> list[dict]:
    return json.loads((data_folder() / "pictures" / "pictures.json").read_text())[part]


@lru_cache
def groups() -> dict[str, str]:
    """Every noun with its group ("cow": "animal"), in the order of the file."""
    return {drawing.noun: drawing.group for drawing in all_drawings()}


@lru_cache
def load_drawings(split: str) -> Drawings:
    """The drawings of one split: train, validation or heldout.

    Raises ValueError on an unknown split.
    """
    if split not in ARTISTS:
        raise ValueError(f"split: expected one of {SPLITS}, got {split!r}")
    return Drawings([d for d in all_drawings() if d.artist in ARTISTS[split]])


@cache
def rasterised(drawing: Drawing) -> Image.Image:
    """The drawing as RGBA, its longer side of 96 pixels, cropped to what is drawn."""
    left, top, width, height = drawing.viewbox
    scale = RASTER_SIZE / max(width, height)
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{left} {top} {width} {height}" width="{scale * width}" '
        f'height="{scale * height}">{drawing.body}</svg>'
    )
    png = resvg_py.svg_to_bytes(svg_string=svg, skip_system_fonts=True)
    picture = Image.open(io.BytesIO(bytes(png))).convert("RGBA")
    return picture.crop(picture.getchannel("A").point(lambda alpha: 255 * (alpha > 32)).getbbox())
