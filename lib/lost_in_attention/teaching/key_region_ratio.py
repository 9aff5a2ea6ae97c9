"""Checks for the exercises of chapter 16, the key-region ratio."""

import math
from collections.abc import Callable, Collection, Sequence
from itertools import combinations_with_replacement

from lost_in_attention.teaching import exercise_check, require, require_close

Edges = Sequence[tuple[int, int]]


@exercise_check
def check_region_ratio(region_ratio: Callable[[Edges, Collection[int]], float]) -> None:
    """Each edge counts once, whichever of its ends lies in the region; nan where none is."""
    edges = [(0, 1), (1, 1), (1, 2), (3, 4), (0, 4)]
    known = [({1}, 3 / 5), ({0, 1}, 4 / 5), ({4}, 2 / 5), ({2, 3}, 2 / 5), ({5}, 0)]
    known += [({0, 1, 2, 3, 4}, 1)]
    for region, expected in known:
        require_close(f"edges {edges}, region {region}", region_ratio(edges, region), expected)
    empty = float(region_ratio([], {1}))
    require(math.isnan(empty), f"no edges: expected nan, got {empty}")


@exercise_check
def check_uniform_share(uniform_share: Callable[[int, int], float]) -> None:
    """Against a count of all pairs that causality allows, wherever the region lies."""
    for tokens, region in ((1, 1), (4, 1), (9, 3), (9, 9), (24, 5)):
        for first in {0, tokens - region}:
            key = set(range(first, first + region))
            pairs = list(combinations_with_replacement(range(tokens), 2))
            touched = sum(bool({*pair} & key) for pair in pairs)
            what = f"{tokens} tokens, {region} of them key tokens"
            require_close(what, uniform_share(tokens, region), touched / len(pairs))
