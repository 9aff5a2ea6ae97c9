"""Weights as they were read: every one of them, of the right shape, each number finite.

transformers fills what a checkpoint lacks with random numbers and goes on.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import nn

# Tables that follow from the configuration; older checkpoints store them.
_COMPUTED = re.compile(r"(rotary(_pos)?_emb\.(original_)?inv_freq|position_ids)$")
# Names in the release of LLaVA, which Yi-VL took over.
_ORIGINAL = re.compile(r"model\.(mm_projector|vision_tower\.vision_tower|layers)\.")
_SHOWN = 3


def check_complete(name: str, model: nn.Module, found: Mapping[str, Any]) -> None:
    """Raises ValueError unless the checkpoint held exactly the model's weights.

    `found` is what `from_pretrained(..., output_loading_info=True)` returns.  Tied weights are
    not missing; tables that the configuration determines may be there or not.
    """
    unknown = {key for key in found["unexpected_keys"] if not _COMPUTED.search(key)}
    wrong = {
        "missing": {key for key in found["missing_keys"] if not _COMPUTED.search(key)},
        "unknown": unknown,
        "of another shape": {key for key, *_ in found["mismatched_keys"]},
    }
    if any(wrong.values()):
        said = "; ".join(f"{len(keys)} {how} ({_few(keys)})" for how, keys in wrong.items() if keys)
        raise ValueError(
            f"name: expected {name!r} to hold the {len(model.state_dict())} tensors of "
            f"{type(model).__name__}, got {said}{_advice(unknown)}"
        )


def check_finite(name: str, model: nn.Module) -> None:
    """Raises ValueError that names the first weight which holds NaN or an infinity."""
    for key, weight in model.state_dict().items():
        # NaN passes on through the extremes, and they need no memory.
        if weight.is_floating_point() and not torch.stack(torch.aminmax(weight)).isfinite().all():
            raise ValueError(
                f"name: expected the weights of {name!r} to be finite, got NaN or an infinity "
                f"in {key}"
            )


def _few(keys: Collection[str]) -> str:
    shown = ", ".join(sorted(keys)[:_SHOWN])
    return f"{shown}, ..." if len(keys) > _SHOWN else shown


def _advice(unknown: Collection[str]) -> str:
    if not any(map(_ORIGINAL.match, unknown)):
        return ""
    return (
        "; these are the names of LLaVA's original release: take a copy that was converted for "
        "transformers, such as those of llava-hf, or rename the tensors"
    )
