"""The handwritten digits, split before anything is made of them.

scikit-learn ships 1,797 images of 8 x 8 pixels (a part of the UCI optical
recognition set).  It does not say who wrote which digit, so the split is by
image, stratified by digit, and fixed: scenes differ by seed, the split never.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

SPLIT_SIZES = {"train": 1197, "validation": 200, "heldout": 400}
SPLITS = tuple(SPLIT_SIZES)
SPLIT_SEED = 20260505


@dataclass(frozen=True)
class Glyphs:
    """Handwritten digits of one split.

    `ink` lies in [0, 1]; `source` is each image's index in scikit-learn's data.
    """

    ink: Float[np.ndarray, "glyphs 8 8"]
    label: Int[np.ndarray, " glyphs"]
    source: Int[np.ndarray, " glyphs"]

    def of_digit(self, digit: int) -> Int[np.ndarray, " matches"]:
        """Positions in this split of the images that show `digit`."""
        return np.flatnonzero(self.label == digit)


@lru_cache
def load_glyphs(split: str) -> Glyphs:
    """The digit images of one split: train, validation or heldout.

    Raises ValueError on an unknown split.
    """
    if split not in SPLIT_SIZES:
        raise ValueError(f"split: expected one of {SPLITS}, got {split!r}")
    data = load_digits()
    everything = np.arange(len(data.target))
    rest, heldout = train_test_split(
        everything,
        test_size=SPLIT_SIZES["heldout"],
        stratify=data.target,
        random_state=SPLIT_SEED,
    )
    train, validation = train_test_split(
        rest,
        test_size=SPLIT_SIZES["validation"],
        stratify=data.target[rest],
        random_state=SPLIT_SEED,
    )
    source = np.sort({"train": train, "validation": validation, "heldout": heldout}[split])
    return Glyphs(data.images[source] / 16.0, data.target[source], source)
