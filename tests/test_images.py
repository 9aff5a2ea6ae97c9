"""Pictures of every depth become 8-bit RGB with the shades that they have."""

import io

import numpy as np
import pytest
from PIL import Image

from lost_in_attention.benchmarks.base import picture
from lost_in_attention.images import rgb


def mean_of(image: Image.Image) -> float:
    assert image.mode == "RGB"
    return float(np.asarray(image).mean())


def test_a_16_bit_grey_png_keeps_its_shades():
    """From black to white: the mean is grey, also for a picture read from a benchmark's row."""
    shades = np.linspace(0, 65535, 256 * 16).reshape(16, 256).astype(np.uint16)
    stored = io.BytesIO()
    Image.fromarray(shades).save(stored, format="png")
    opened = Image.open(stored)
    assert opened.mode.startswith("I")
    assert mean_of(rgb(opened)) == pytest.approx(127.5, abs=0.1)
    row = {"image": {"bytes": stored.getvalue(), "path": None}}
    assert mean_of(picture(row, 0)) == pytest.approx(127.5, abs=0.1)


@pytest.mark.parametrize(
    ("mode", "shade", "expected"),
    [
        ("I;16", 32768, 128),
        ("I;16", 255, 1),
        ("I;16B", 65535, 255),
        ("I", 40000, 156),
        ("I", 200, 200),
        ("F", 0.5, 128),
        ("F", 77.0, 77),
        ("F", 65535.0, 255),
        ("L", 90, 90),
        ("1", 1, 255),
    ],
)
def test_shades_of_each_depth(mode, shade, expected):
    assert rgb(Image.new(mode, (3, 2), shade)).getpixel((1, 1)) == (expected,) * 3


def test_transparency_is_dropped_and_the_stored_colour_shown():
    assert rgb(Image.new("RGBA", (2, 2), (10, 20, 30, 0))).getpixel((0, 0)) == (10, 20, 30)
    assert rgb(Image.new("LA", (2, 2), (70, 0))).getpixel((0, 0)) == (70, 70, 70)


def test_colours_are_as_pillow_converts_them():
    noise = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    for mode in ("RGB", "CMYK", "YCbCr", "P", "RGBA"):
        other = image.convert(mode)
        assert np.array_equal(np.asarray(rgb(other)), np.asarray(other.convert("RGB")))


@pytest.mark.usefixtures("unchecked")
def test_what_has_no_shades_is_refused():
    for bad, got in (
        (Image.new("RGB", (0, 5)), "0 x 5"),
        (Image.new("I", (2, 2), 70000), "70000 to 70000"),
        (Image.new("I", (2, 2), -1), "-1 to -1"),
        (Image.new("F", (2, 2), float("nan")), "nan to nan"),
        ("picture.png", "str"),
    ):
        with pytest.raises(ValueError, match=f"image: expected .*, got {got}"):
            rgb(bad)
