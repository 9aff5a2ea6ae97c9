"""An optimisation loop that can stop at any step and go on as if it had not.

Every step draws its data from (seed, phase, step) alone, and the state (weights,
optimiser, step, curve) is written as safetensors in one rename, so an interrupted run
ends with the same weights as an uninterrupted one on the same device.
"""

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm import tqdm

from lost_in_attention.runs.files import replaced_when_complete
from lost_in_attention.runs.paths import check_writable

SAVE_EVERY = 100


class Rates(NamedTuple):
    """Peak learning rates: of the weight matrices, and of everything else."""

    matrices: float
    others: float


@dataclass(frozen=True)
class Phase:
    """One phase: `loss(step)` gives the loss and named numbers for the training curve.

    The state is written every `save_every` steps, or `SAVE_EVERY`; without `muon` AdamW trains all
    weights.
    """

    name: str
    steps: int
    rates: Rates
    warmup: int
    modules: nn.Module
    parameters: list[nn.Parameter]
    loss: Callable[[int], tuple[Tensor, dict[str, float]]]
    save_every: int | None = None
    muon: bool = True


def rate_share(step: int, phase: Phase) -> float:
    """Linear warm-up, then a cosine down to a twentieth; as a share of the peak rates."""
    if step < phase.warmup:
        return (step + 1) / phase.warmup
    progress = (step - phase.warmup) / max(1, phase.steps - phase.warmup)
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * progress))


def make_optimizers(phase: Phase) -> list[torch.optim.Optimizer]:
    """Muon for the layers' weight matrices, AdamW for embeddings, norms, biases and filters.

    On these small towers Muon reaches an accuracy in less than half of AdamW's steps.
    """
    embeddings = {
        id(p)
        for module in phase.modules.modules()
        if isinstance(module, nn.Embedding)
        for p in module.parameters()
    }
    matrices = [
        p for p in phase.parameters if phase.muon and p.ndim == 2 and id(p) not in embeddings
    ]
    chosen = {id(p) for p in matrices}
    others = [p for p in phase.parameters if id(p) not in chosen]
    adamw = torch.optim.AdamW(others, lr=phase.rates.others, betas=(0.9, 0.98), weight_decay=0.01)
    if not matrices:
        return [adamw]
    muon = torch.optim.Muon(
        matrices, lr=phase.rates.matrices, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"
    )
    return [muon, adamw]


def claim_folder(folder: Path, config: Any) -> None:
    """Writes the configuration, a dataclass, into a run's folder.

    Raises ValueError if the folder holds a run with another one, or weights of which it is not
    known, or cannot be written.
    """
    check_writable("runs", folder)
    wanted = json.dumps(asdict(config), indent=2)
    path = folder / "config.json"
    if path.exists() and path.read_text() != wanted:
        raise ValueError(
            f"runs: {folder} holds a run with another configuration; "
            f"expected {wanted}, got {path.read_text()}"
        )
    if not path.exists() and (weights := sorted(folder.glob("*.safetensors"))):
        raise ValueError(
            f"runs: expected {path.name} beside the weights in {folder}, "
            f"got {weights[0].name} alone"
        )
    with replaced_when_complete(path) as temporary:
        temporary.write_text(wanted)


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

    Raises ValueError if the saved state is not of these modules or damaged, or at a step whose loss
    is not finite.
    """
    optimizers = make_optimizers(phase)
    state = folder / f"{phase.name}.safetensors"
    first, curve = _restore(state, phase.modules, optimizers)
    wanted = set(snapshot_steps)
    bar = tqdm(range(first, phase.steps), initial=first, total=phase.steps, desc=phase.name)
    for step in bar:
        if step in wanted:
            snapshot(step)
        share = rate_share(step, phase)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = optimizer.defaults["lr"] * share
            optimizer.zero_grad(set_to_none=True)
        loss, numbers = phase.loss(step)
        if not loss.isfinite():
            raise ValueError(
                f"{phase.name}: expected a finite loss, got {loss.item()} in step {step}"
            )
        loss.backward()
        nn.utils.clip_grad_norm_(phase.parameters, 1.0)
        for optimizer in optimizers:
            optimizer.step()
        if step % 10 == 0 or step + 1 == phase.steps:
            curve.append({"phase": phase.name, "step": step, "loss": loss.item(), **numbers})
            bar.set_postfix({key: f"{value:.3f}" for key, value in list(curve[-1].items())[2:]})
        if (step + 1) % (phase.save_every or SAVE_EVERY) == 0 or step + 1 == phase.steps:
            _save(state, phase.modules, optimizers, step + 1, curve)
    return curve


def _save(
    path: Path,
    modules: nn.Module,
    optimizers: list[torch.optim.Optimizer],
    step: int,
    curve: list[dict],
) -> None:
    # Tied weights stand twice in a state dict; safetensors wants each in its own memory.
    tensors = {f"model.{key}": value.clone() for key, value in modules.state_dict().items()}
    for number, optimizer in enumerate(optimizers):
        for index, values in optimizer.state_dict()["state"].items():
            for key, value in values.items():
                tensors[f"optimizer.{number}.{index}.{key}"] = value.clone()
    metadata = {"step": str(step), "curve": json.dumps(curve)}
    with replaced_when_complete(path) as temporary:
        save_file(tensors, temporary, metadata)


def _restore(
    path: Path, modules: nn.Module, optimizers: list[torch.optim.Optimizer]
) -> tuple[int, list[dict]]:
    if not path.exists():
        return 0, []
    try:
        return _read(path, modules, optimizers)
    except (OSError, SafetensorError, RuntimeError, LookupError, TypeError, ValueError) as error:
        first = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"runs: expected the state of this run in {path}, got another or a damaged file "
            f"({first}); without it the phase begins anew"
        ) from error


def _read(
    path: Path, modules: nn.Module, optimizers: list[torch.optim.Optimizer]
) -> tuple[int, list[dict]]:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    modules.load_state_dict(
        {key[6:]: value for key, value in tensors.items() if key.startswith("model.")}
    )
    states: list[dict[int, dict[str, Tensor]]] = [{} for _ in optimizers]
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, number, index, name = key.split(".")
            states[int(number)].setdefault(int(index), {})[name] = value
    for optimizer, state in zip(optimizers, states, strict=True):
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": state, "param_groups": groups})
    return int(metadata["step"]), json.loads(metadata["curve"])
