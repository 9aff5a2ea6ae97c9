"""Any picture as 8-bit RGB, which is what the processors read.

Pillow's own conversion clips shades above 255, so that a 16-bit grey picture turns white.
"""

import numpy as np
from PIL import Image

_DEEP = ("I", "F")


def rgb(image: Image.Image) -> Image.Image:
    """The picture in 8-bit RGB.

    More than 8 bits a shade are scaled down.  Integers and floats without a fixed depth (Pillow's
    modes I and F) are read on the smallest scale that holds them: 0 to 1 for floats, 0 to 255,
    0 to 65535.  Transparency is dropped as the published harnesses drop it: a transparent pixel
    shows the colour that is stored for it.

    Raises ValueError for something else than a picture, one without a pixel, or shades that are
    not finite or lie on no such scale.
    """
    if not isinstance(image, Image.Image):
        raise ValueError(f"image: expected a Pillow image, got {type(image).__name__}")
    if 0 in image.size:
        width, height = image.size
        raise ValueError(f"image: expected at least one pixel, got {width} x {height}")
    if image.mode.startswith("I;16") or image.mode in _DEEP:
        image = _eight_bits(image)
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    shades = np.asarray(image, dtype=np.float64)
    scale = 65535 if image.mode.startswith("I;16") else _full_scale(shades, image.mode)
    return Image.fromarray(np.rint(shades * (255 / scale)).astype(np.uint8))


def _full_scale(shades: np.ndarray, mode: str) -> float:
    """What white is in a mode that does not say it."""
    low, high = shades.min(), shades.max()
    scales = (1, 255, 65535) if mode == "F" else (255, 65535)
    holding = [scale for scale in scales if low >= 0 and high <= scale]
    if not holding:
        raise ValueError(f"image: expected shades of 0 to {scales[-1]}, got {low:g} to {high:g}")
    return holding[0]
