"""Is it there? Questions in POPE's schema."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from lost_in_attention.pictures.coco import image_source
from lost_in_attention.pictures.drawings import groups
from lost_in_attention.pictures.facts import absent_nouns, nouns_of
from lost_in_attention.pictures.scenes import Scene
from lost_in_attention.pictures.words import a
from lost_in_attention.worlds.existence import existence_table


def existence_question(noun: str) -> str:
    """POPE's wording: "Is there a cow in the image?"."""
    return f"Is there {a(noun)} in the image?"


def existence_questions(scenes: Sequence[Scene], split: str, *, seed: int) -> pd.DataFrame:
    """Six questions per scene and kind of negative (see `existence_table`)."""
    nouns = list(groups())
    present = np.array([np.isin(nouns, nouns_of(scene)) for scene in scenes])
    absent = np.array([np.isin(nouns, absent_nouns(scene)) for scene in scenes])
    sources = [image_source(split, index) for index in range(len(scenes))]
    return existence_table(
        present, sources, lambda kind: existence_question(nouns[kind]), absent=absent, seed=seed
    )
