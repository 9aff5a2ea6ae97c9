"""Existence questions in POPE's schema, with its three kinds of negatives.

Per image three digits that are there and three that are not.  The absent ones are
drawn at random, or are the most frequent digits over all images (popular), or those
that most often appear together with the digits that are there (adversarial)
(Li et al., 2023, Section 4).
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float

from lost_in_attention.digits.coco import image_source
from lost_in_attention.digits.scenes import DIGIT_NAMES, Scene

NEGATIVES = ("random", "popular", "adversarial")
PER_ANSWER = 3


def existence_question(digit: int) -> str:
    """POPE's wording: "Is there a seven in the image?"."""
    name = DIGIT_NAMES[digit]
    return f"Is there {'an' if name == 'eight' else 'a'} {name} in the image?"


def existence_questions(scenes: Sequence[Scene], *, seed: int) -> pd.DataFrame:
    """Six questions per scene and kind of negative: POPE's columns but for the image bytes.

    Columns id, question_id, question, answer (yes or no), image_source, category.
    """
    present = np.array([[d in {p.digit for p in s.digits} for d in range(10)] for s in scenes])
    together = present.T.astype(float) @ present
    rng = np.random.default_rng([seed, 1])
    rows = []
    for index in range(len(scenes)):
        positives = rng.choice(np.flatnonzero(present[index]), PER_ANSWER, replace=False)
        for category in NEGATIVES:
            negatives = _negatives(category, present[index], together, rng)
            for digit, answer in [(d, "yes") for d in positives] + [(d, "no") for d in negatives]:
                rows.append((existence_question(int(digit)), answer, image_source(index), category))
    table = pd.DataFrame(rows, columns=["question", "answer", "image_source", "category"])
    table = table.sort_values("category", kind="stable", ignore_index=True)
    table.insert(0, "id", [str(i) for i in range(len(table))])
    number = table.groupby("category").cumcount() + 1
    table.insert(1, "question_id", number.astype(str))
    return table


def _negatives(
    category: str,
    present: np.ndarray,
    together: Float[np.ndarray, "10 10"],
    rng: np.random.Generator,
) -> np.ndarray:
    absent = np.flatnonzero(~present)
    if category == "random":
        return rng.choice(absent, PER_ANSWER, replace=False)
    weight = together.diagonal() if category == "popular" else together[present].sum(0)
    return absent[np.argsort(-weight[absent], kind="stable")][:PER_ANSWER]
