"""The scenes of digits that the small models are trained on."""

import numpy as np

from lost_in_attention.digits import Scene, load_glyphs, make_scene
from lost_in_attention.digits.variants import make_row

_ROW_EVERY = 8


def training_scenes(count: int, *, seed: int, first: int = 0) -> list[Scene]:
    """Scenes `first` to `first + count - 1` of an endless row; every eighth is a written number.

    Their digits come from the training split, turned and sheared a little.
    """
    glyphs = load_glyphs("train")
    scenes = []
    for index in range(first, first + count):
        make = make_row if index % _ROW_EVERY == 0 else make_scene
        scenes.append(make(glyphs, np.random.default_rng([seed, index]), augment=True))
    return scenes
