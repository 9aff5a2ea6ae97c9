"""Checks for the exercises of chapter 06, layer by layer."""

import math
from collections.abc import Callable, Sequence

import torch

from lost_in_attention.metrics.mixing import token_mixing_entropy
from lost_in_attention.teaching import exercise_check, numbers, require, require_close
from lost_in_attention.teaching.matrices import Matrix, gaussian


@exercise_check
def check_depth_weights(depth_weights: Callable[[int], Sequence[float]]) -> None:
    """A sum of one, ends that weigh at most 1/28, and equal layers between them."""
    for layers in (3, 8, 27, 28, 36, 64):
        weights = numbers("depth_weights", depth_weights(layers), layers)
        require_close(f"sum of {layers} weights", weights.sum(), 1)
        end = 1 / layers if layers > 28 else 1 / 28
        for name, place in (("first", 0), ("last", -1)):
            require_close(f"weight of the {name} of {layers} layers", weights[place], end)
        spread = float(weights[1:-1].max() - weights[1:-1].min())
        require(spread < 1e-9, f"{layers} layers: those between should weigh alike, got {weights}")


@exercise_check
def check_gains_by_module(
    gains_by_module: Callable[[Sequence[Matrix]], tuple[float, float]],
) -> None:
    """A sum that telescopes, a gain that is known, and nothing for a module that mixes nothing."""
    alike = torch.ones(4, 4, dtype=torch.float64)
    apart = torch.eye(4, dtype=torch.float64)
    gain = math.log(4) - (math.log(2.5) + 0.6 * math.log(2))
    cases = {
        "attention makes all tokens alike": ([apart, alike, 3 * alike], (gain, 0)),
        "the FFN does": ([apart, 2 * apart, alike], (0, gain)),
        "attention does, the FFN undoes it, twice": (
            [apart, alike, apart, alike, apart],
            (2 * gain, -2 * gain),
        ),
    }
    for name, (states, known) in cases.items():
        found = numbers("gains_by_module", gains_by_module(states), 2)
        for module, got, expected in zip(("attention", "FFN"), found, known, strict=True):
            require_close(f"{name}: {module}", got, expected, tolerance=1e-6)
    random = torch.Generator().manual_seed(0)
    states = [gaussian(7, 5, random) + i for i in range(9)]
    total = sum(float(gain) for gain in gains_by_module(states))
    expected = token_mixing_entropy(states[-1]) - token_mixing_entropy(states[0])
    require_close("both together, of 4 layers", total, expected, tolerance=1e-6)
