"""An optimisation loop that can stop at any step and go on as if it had not.

Every step draws its data from (seed, phase, step) alone, and the state (weights,
optimiser, step, curve) is written as safetensors in one rename, so an interrupted run
ends with the same weights as an uninterrupted one on the same device.
"""

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm import tqdm

from lost_in_attention.files import replaced_when_complete

SAVE_EVERY = 100


@dataclass(frozen=True)
class Phase:
    """One phase: `loss(step)` gives the loss and named numbers for the training curve."""

    name: str
    steps: int
    peak_rate: float
    warmup: int
    modules: nn.Module
    parameters: list[nn.Parameter]
    loss: Callable[[int], tuple[Tensor, dict[str, float]]]


def learning_rate(step: int, phase: Phase) -> float:
    """Linear warm-up, then a cosine down to a twentieth of the peak."""
    if step < phase.warmup:
        return phase.peak_rate * (step + 1) / phase.warmup
    progress = (step - phase.warmup) / max(1, phase.steps - phase.warmup)
    return phase.peak_rate * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * progress)))


def run_phase(
    phase: Phase,
    folder: Path,
    *,
    snapshot_steps: Iterable[int] = (),
    snapshot: Callable[[int], None] = lambda step: None,
) -> list[dict]:
    """Train to the end of the phase, from the saved state if there is one.

    `snapshot(step)` is called before step `step` for each of `snapshot_steps`.
    Returns the training curve, a row for every tenth step.
    """
    optimizer = torch.optim.AdamW(
        phase.parameters, lr=phase.peak_rate, betas=(0.9, 0.98), weight_decay=0.01
    )
    state = folder / f"{phase.name}.safetensors"
    first, curve = _restore(state, phase.modules, optimizer)
    wanted = set(snapshot_steps)
    bar = tqdm(range(first, phase.steps), initial=first, total=phase.steps, desc=phase.name)
    for step in bar:
        if step in wanted:
            snapshot(step)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, phase)
        loss, numbers = phase.loss(step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(phase.parameters, 1.0)
        optimizer.step()
        if step % 10 == 0 or step + 1 == phase.steps:
            curve.append({"phase": phase.name, "step": step, "loss": loss.item(), **numbers})
            bar.set_postfix({key: f"{value:.3f}" for key, value in list(curve[-1].items())[2:]})
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == phase.steps:
            _save(state, phase.modules, optimizer, step + 1, curve)
    return curve


def _save(
    path: Path, modules: nn.Module, optimizer: torch.optim.Optimizer, step: int, curve: list[dict]
) -> None:
    # Tied weights stand twice in a state dict; safetensors wants each in its own memory.
    tensors = {f"model.{key}": value.clone() for key, value in modules.state_dict().items()}
    for index, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{key}": value.clone() for key, value in values.items()}
    metadata = {"step": str(step), "curve": json.dumps(curve)}
    with replaced_when_complete(path) as temporary:
        save_file(tensors, temporary, metadata)


def _restore(
    path: Path, modules: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[int, list[dict]]:
    if not path.exists():
        return 0, []
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    modules.load_state_dict(
        {key[6:]: value for key, value in tensors.items() if key.startswith("model.")}
    )
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".")
            state.setdefault(int(index), {})[name] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    return int(metadata["step"]), json.loads(metadata["curve"])
