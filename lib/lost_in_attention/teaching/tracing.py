"""Checks for the exercises of chapter 15, graphs of attention."""

from collections.abc import Callable, Iterable, Sequence

import torch
from jaxtyping import Float64
from torch import Tensor

from lost_in_attention.teaching import CheckFailed, exercise_check, require

Edges = Iterable[tuple[int, int]]


def _pairs(what: str, got: Edges) -> set[tuple[int, int]]:
    try:
        return {(int(source), int(target)) for source, target in got}
    except (TypeError, ValueError) as error:
        raise CheckFailed(f"{what}: expected pairs (source, target), got {got!r}") from error


@exercise_check
def check_attention_edges(
    attention_edges: Callable[[Float64[Tensor, "heads patches patches"], float], Edges],
) -> None:
    """Direction, both ends of the threshold, self-edges, and the mean in place of any one head."""
    one = torch.tensor([[1, 0, 0], [0.5, 0.5, 0], [0, 0.25, 0.25]], dtype=torch.float64)
    other = torch.tensor([[0.5, 0, 0], [0, 0.5, 0], [0.5, 0.25, 0.25]], dtype=torch.float64)
    both = torch.stack([one, other])
    # The mean: rows (0.75), (0.25, 0.5), (0.25, 0.25, 0.25).
    every = {(0, 0), (0, 1), (1, 1), (0, 2), (1, 2), (2, 2)}
    known = [
        (both, 0.25, every), (both, 0.26, {(0, 0), (1, 1)}), (both, 0.6, {(0, 0)}),
        (both, 0.8, set()), (one[None], 0.5, {(0, 0), (0, 1), (1, 1)}),
    ]  # fmt: skip
    for weights, threshold, expected in known:
        what = f"{len(weights)} heads, threshold {threshold}"
        got = _pairs(what, attention_edges(weights, threshold))
        require(got == expected, f"{what}: expected {sorted(expected)}, got {sorted(got)}")


@exercise_check
def check_reached(reached: Callable[[Sequence[Edges], int], Iterable[int]]) -> None:
    """One step a layer, in the order of the layers, and nothing that was there is lost."""
    known = [
        ("no layer", [], {0}),
        ("one layer, two edges in a row", [[(0, 1), (1, 2)]], {0, 1}),
        ("the second edge one layer later", [[(0, 1)], [(1, 2)]], {0, 1, 2}),
        ("the second edge one layer earlier", [[(1, 2)], [(0, 1)]], {0, 1}),
        ("a layer without edges in between", [[(0, 1)], [], [(1, 3), (2, 4)]], {0, 1, 3}),
        ("the start again in a late layer", [[], [], [(0, 5)]], {0, 5}),
    ]  # fmt: skip
    for name, layers, expected in known:
        got = {int(patch) for patch in reached(layers, 0)}
        message = f"{name}, from patch 0: expected {sorted(expected)}, got {sorted(got)}"
        require(got == expected, message)
