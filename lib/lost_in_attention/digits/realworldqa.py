"""Where is a digit? Questions in RealWorldQA's schema."""

import numpy as np

from lost_in_attention.digits.facts import unique_digits
from lost_in_attention.digits.scenes import IMAGE_SIZE, Scene
from lost_in_attention.worlds import places

_LETTER_SHARE = 0.7


def question(scene: Scene, rng: np.random.Generator) -> dict[str, str] | None:
    """Question and answer: a quarter of the image by letter, or a row or column by number."""
    ask = places.quarter if rng.random() < _LETTER_SHARE else places.line
    return ask(unique_digits(scene), IMAGE_SIZE, rng)
