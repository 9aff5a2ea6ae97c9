"""Is a digit there? Questions in POPE's schema."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from lost_in_attention.digits.coco import image_source
from lost_in_attention.digits.scenes import DIGIT_NAMES, Scene
from lost_in_attention.worlds.existence import existence_table


def existence_question(digit: int) -> str:
    """POPE's wording: "Is there a seven in the image?"."""
    name = DIGIT_NAMES[digit]
    return f"Is there {'an' if name == 'eight' else 'a'} {name} in the image?"


def existence_questions(scenes: Sequence[Scene], *, seed: int) -> pd.DataFrame:
    """Six questions per scene and kind of negative (see `existence_table`)."""
    present = np.array([[d in {p.digit for p in s.digits} for d in range(10)] for s in scenes])
    sources = [image_source(index) for index in range(len(scenes))]
    return existence_table(present, sources, existence_question, seed=seed)
