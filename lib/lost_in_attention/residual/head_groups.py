"""Do heads that share keys and values (grouped queries) do alike?"""

import numpy as np
from jaxtyping import Float, Int

PERMUTATIONS = 2000


def between_groups(
    values: Float[np.ndarray, "*layers heads"], groups: Int[np.ndarray, " heads"]
) -> Float[np.ndarray, "*layers"]:
    """The share of the heads' variance that lies between groups of one size, layer by layer.

    By chance it is (g - 1) / (h - 1) for g groups of h heads.  Heads that are all alike have none.

    Raises ValueError unless there are several groups of one size.
    """
    names, sizes = np.unique(groups, return_counts=True)
    if len(names) < 2 or len(set(sizes)) > 1:
        raise ValueError(f"groups: expected several of one size, got sizes {sizes.tolist()}")
    means = np.stack([values[..., groups == name].mean(-1) for name in names], -1)
    total = values.var(-1)
    return np.divide(means.var(-1), total, out=np.zeros_like(total), where=total > 0)


def chance_of_groups(
    values: Float[np.ndarray, "layers heads"], groups: Int[np.ndarray, " heads"], *, seed: int
) -> float:
    """The share of shuffles of each layer's heads whose mean share between groups is as large.

    The shuffle that changes nothing is counted too.  Raises what `between_groups` does.
    """
    found = between_groups(values, groups).mean()
    random = np.random.default_rng(seed)
    shuffled = random.permuted(np.repeat(values[None], PERMUTATIONS, 0), axis=-1)
    as_large = between_groups(shuffled, groups).mean(-1) >= found
    return float((1 + as_large.sum()) / (1 + PERMUTATIONS))
