"""Where a result comes from: how to make it again, with which versions, on what.

Nothing here tells the machine or its user apart: no absolute path, no user or host name.
"""

import hashlib
import platform
import re
import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

import lost_in_attention

TIERS = ("smoke", "book", "paper")
Scalar = str | int | float | bool | None
# Endings of what a model and its processor are read from; cards and curves decide nothing.
_DECIDING = (".json", ".safetensors", ".jinja", ".txt", ".model")


def collect(
    notebook: str, *, tier: str, seed: int, model: str, parameters: dict[str, Scalar]
) -> dict[str, Any]:
    """The provenance of a notebook's results, ready for JSON; `model` is empty if it has none.

    Raises:
        ValueError: a tier that is not one of `TIERS`, or a parameter that is not a scalar
            (papermill passes scalars on its command line).
    """
    if tier not in TIERS:
        raise ValueError(f"tier: expected one of {', '.join(TIERS)}, got {tier!r}")
    for name, value in parameters.items():
        if not isinstance(value, Scalar):
            raise ValueError(f"parameter {name}: expected a scalar, got {type(value).__name__}")
    model = without_folders(model)
    parameters = {name: without_folders(value) for name, value in parameters.items()}
    settings = {"tier": tier, "seed": seed, "model": model, **parameters}
    return {
        "notebook": notebook,
        "command": papermill_command(notebook, settings),
        "tier": tier,
        "seed": seed,
        "model": model,
        "parameters": parameters,
        "versions": versions(),
        "device": device(),
        "threads": torch.get_num_threads(),
        "platform": f"{platform.system()} {platform.machine()}",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def papermill_command(notebook: str, settings: dict[str, Scalar]) -> str:
    """The line that runs the notebook again, from the root of the repository.

    A notebook about several models has a parameter `models` and none of the name `model`, one
    about no model has neither.
    """
    if "models" in settings or not settings["model"]:
        settings = {name: value for name, value in settings.items() if name != "model"}
    options = [f"-p {name} {shlex.quote(str(value))}" for name, value in settings.items()]
    return " ".join([f"papermill notebooks/{notebook}.ipynb {notebook}.ipynb --cwd .", *options])


def made_by(command: str, options: Mapping[str, Scalar], started: datetime) -> dict[str, Any]:
    """How a command's results were made, ready for JSON: the line that makes them again, with
    what, on what and when; they are finished now."""
    options = {name: without_folders(value) for name, value in options.items()}
    named = [_option(name, value) for name, value in options.items() if value is not False]
    return {
        "command": " ".join([f"python -m lost_in_attention {command}", *named]),
        "options": options,
        "versions": versions(),
        "device": device(),
        "started": started.isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _option(name: str, value: Scalar) -> str:
    """As a command line has it: a switch that is on stands without a value."""
    flag = f"--{name.replace('_', '-')}"
    return flag if value is True else f"{flag} {shlex.quote(str(value))}"


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that decide a number."""
    libraries = {name: version(name) for name in ("torch", "transformers", "numpy")}
    own = {"lost_in_attention": lost_in_attention.__version__}
    return {"python": platform.python_version(), **libraries, **own}


def weights_digest(model: nn.Module) -> str:
    """A hash of all weights with their names and types: another for any other weights."""
    content = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        content.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        content.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return content.hexdigest()[:16]


def files_digest(folder: Path) -> str | None:
    """A hash of the files of a model's folder that decide what is loaded; None without a folder.

    Equal files are equal weights, read alike; the reverse need not hold.  It takes no loading.
    """
    if not folder.is_dir():
        return None
    content = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in _DECIDING and path.is_file():
            content.update(f"{path.name} {path.stat().st_size}\n".encode())
            content.update(path.read_bytes())
    return content.hexdigest()[:16]


def device() -> str:
    """The accelerator that torch sees, or the CPU."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def without_folders(value: Scalar) -> Scalar:
    """Absolute paths, alone or parted by commas, shortened to their last part.

    Paths that lead out of the folder ("../") too; everything else is unchanged.
    """
    if not isinstance(value, str):
        return value
    return "".join(_last_part(piece) for piece in re.split(r"(,\s*)", value))


def _last_part(piece: str) -> str:
    outside = piece.startswith(("~", "..")) or Path(piece).is_absolute()
    return Path(piece).name if outside else piece
