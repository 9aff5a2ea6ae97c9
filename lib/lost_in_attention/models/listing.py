"""Every model that the project knows, in lines of text, with what this machine can hold of it."""

import re
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from lost_in_attention.models import smollm2, text_decoder
from lost_in_attention.models.devices import free_bytes
from lost_in_attention.models.families import family_of
from lost_in_attention.models.load import configuration
from lost_in_attention.models.memory import on_the_way_to, weight_bytes, weights_fit
from lost_in_attention.models.registry import RegisteredModel, registry
from lost_in_attention.runs.paths import data_folder

# The number formats that are tried, the most exact one first.
_FORMATS = {"fp32": torch.float32, "bf16": torch.bfloat16}
_HEAD = ("model", "family", "size", "bf16", "here", "category", "licence", "hub id")
_RIGHT = (2, 3)
_UNKNOWN = "unknown"


def known_models() -> tuple[RegisteredModel, ...]:
    """The published models, those of the repository, and the pretrained decoder by itself.

    Raises FileNotFoundError where the data folder is missing.
    """
    folders = sorted(path.parent for path in data_folder().glob("models/*/config.json"))
    return (*registry(), *map(_held, folders), _decoder())


def as_table(models: Sequence[RegisteredModel], device: torch.device, width: int) -> list[str]:
    """A line for each model; hub ids stand below where `width` columns do not hold them beside.

    Size is the number of parameters, bf16 the gigabytes of the weights in that format, here the
    most exact format in which they fit into the memory that is free now.
    """
    rows = [_HEAD, *(_row(model, device) for model in models)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if sum(widths) + len(widths) - 1 <= width:
        return [_line(row, widths) for row in rows]
    lines = [_line(rows[0][:-1], widths)]
    for *beside, hub in rows[1:]:
        lines += [_line(beside, widths), *([f"  {hub}"] if hub else [])]
    return lines


def in_full(model: RegisteredModel, device: torch.device, width: int) -> list[str]:
    """All that is known of one model, a fact a line, long ones wrapped to `width` columns.

    Hub ids and commits stay whole, so that they can be copied, whatever the width.

    What the paper does not print of a model is left out.
    """
    facts = {
        "hub id": model.hub or "none, it comes with the repository",
        "revision": (model.revision or _UNKNOWN) if model.hub else "",
        "family": model.family,
        "licence": model.licence or _UNKNOWN,
        "parameters": f"{model.parameters:.4g} billion",
        "shape": f"{model.layers} layers of width {model.hidden_size}" + _taken_from(model),
        "weights": ", ".join(f"{_gigabytes(model, how)} GB in {how}" for how in _FORMATS),
        "here": _in_words(model, device),
        "category": model.category,
        "the paper replaces attention in layers": _spans(filter(None, [model.sap_layers])),
        "the paper compares bands of heads": _spans(model.bands),
        "the paper compares layers": _spans(model.layer_ranges),
        "not supported": model.reason,
        "notes": model.notes,
    }
    lines = [model.name]
    for name, said in facts.items():
        if said:
            lines += _wrapped(f"{name}: {said}", width)
    return lines


def fitting_format(model: RegisteredModel, device: torch.device) -> str | None:
    """The most exact number format in which the weights fit into free memory; None if none does."""
    fitting = (
        how for how, dtype in _FORMATS.items() if weights_fit(model.weight_bytes(dtype), device)
    )
    return next(fitting, None) if model.supported else None


def _wrapped(said: str, width: int) -> list[str]:
    whole = {"break_long_words": False, "break_on_hyphens": False}
    return textwrap.wrap(said, width, subsequent_indent="  ", **whole)


def _row(model: RegisteredModel, device: torch.device) -> tuple[str, ...]:
    return (
        model.name,
        model.family,
        _size(model),
        _gigabytes(model, "bf16"),
        fitting_format(model, device) or "no",
        model.category,
        model.licence or _UNKNOWN,
        model.hub,
    )


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [
        cell.rjust(wide) if place in _RIGHT else cell.ljust(wide)
        for place, (cell, wide) in enumerate(zip(row, widths, strict=False))
    ]
    return " ".join(cells).rstrip()


def _size(model: RegisteredModel) -> str:
    billions = model.parameters
    return f"{billions:.2g}B" if billions >= 1 else f"{billions * 1e3:.0f}M"


def _gigabytes(model: RegisteredModel, how: str) -> str:
    gigabytes = model.weight_bytes(_FORMATS[how]) / 1e9
    return f"{gigabytes:.1f}" if gigabytes >= 0.1 else "<0.1"


def _in_words(model: RegisteredModel, device: torch.device) -> str:
    if not model.supported:
        return "no"
    free = ", ".join(f"{free_bytes(p) / 1e9:.3g} GB free on {p}" for p in on_the_way_to(device))
    how = fitting_format(model, device)
    return f"its weights fit in {how} ({free})" if how else f"its weights do not fit ({free})"


def _taken_from(model: RegisteredModel) -> str:
    return f", as {model.base}, which it was trained from" if model.base else ""


def _spans(pairs: Iterable[tuple[float, float]]) -> str:
    return ", ".join(f"[{first}, {last}]" for first, last in pairs)


def _held(folder: Path) -> RegisteredModel:
    """A model of the repository, from its configuration and its card."""
    config, card = configuration(folder.name, str(folder)), folder / "README.md"
    decoder = config.get_text_config()
    told = card.read_text() if card.is_file() else ""
    said = re.search(r"^license: (\S+)$", told, re.MULTILINE)
    return RegisteredModel(
        name=folder.name,
        hub="",
        revision="",
        family=family_of(config).key,
        category="general",
        licence=said[1] if said else "not said",
        parameters=weight_bytes(config, torch.int8) / 1e9,
        layers=decoder.num_hidden_layers,
        hidden_size=decoder.hidden_size,
        in_paper=False,
    )


def _decoder() -> RegisteredModel:
    return RegisteredModel(
        name=text_decoder.NAME,
        hub=smollm2.HUB,
        revision="",
        family="text alone",
        category="general",
        licence="apache-2.0",
        parameters=0.1345,
        layers=30,
        hidden_size=576,
        notes=f"A decoder without a tower, taken from the package {smollm2.PACKAGE}, in four bits.",
        in_paper=False,
    )
