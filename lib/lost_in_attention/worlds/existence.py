"""Existence questions in POPE's schema, with its three kinds of negatives.

Per image three kinds of thing that are there and three that are not.  The absent ones are drawn
at random, or are the most frequent over all images (popular), or those that most often appear
together with what is there (adversarial) (Li et al., 2023, Section 4).
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

NEGATIVES = ("random", "popular", "adversarial")
PER_ANSWER = 3
PER_SCENE = 2 * PER_ANSWER * len(NEGATIVES)


def existence_table(
    present: Bool[np.ndarray, "scenes kinds"],
    sources: Sequence[str],
    ask: Callable[[int], str],
    *,
    seed: int,
    absent: Bool[np.ndarray, "scenes kinds"] | None = None,
) -> pd.DataFrame:
    """Six questions per scene and kind of negative: POPE's columns but for the image bytes.

    `present` says what is there, `absent` what may be asked for as not there (all else if not
    said); `sources` names the images, `ask` puts the question on a kind.
    Columns id, question_id, question, answer (yes or no), image_source, category.
    """
    together = present.T.astype(float) @ present
    rng = np.random.default_rng([seed, 1])
    rows = []
    missing = ~present if absent is None else absent
    for there, lacking, source in zip(present, missing, sources, strict=True):
        positives = rng.choice(np.flatnonzero(there), PER_ANSWER, replace=False)
        for category in NEGATIVES:
            negatives = _negatives(category, there, np.flatnonzero(lacking), together, rng)
            for kind, answer in [(k, "yes") for k in positives] + [(k, "no") for k in negatives]:
                rows.append((ask(int(kind)), answer, source, category))
    table = pd.DataFrame(rows, columns=["question", "answer", "image_source", "category"])
    table = table.sort_values("category", kind="stable", ignore_index=True)
    table.insert(0, "id", [str(i) for i in range(len(table))])
    number = table.groupby("category").cumcount() + 1
    table.insert(1, "question_id", number.astype(str))
    return table


def _negatives(
    category: str,
    there: Bool[np.ndarray, " kinds"],
    absent: Int[np.ndarray, " absent"],
    together: Float[np.ndarray, "kinds kinds"],
    rng: np.random.Generator,
) -> Int[np.ndarray, " negatives"]:
    if category == "random":
        return rng.choice(absent, PER_ANSWER, replace=False)
    weight = together.diagonal() if category == "popular" else together[there].sum(0)
    return absent[np.argsort(-weight[absent], kind="stable")][:PER_ANSWER]
