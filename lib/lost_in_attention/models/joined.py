"""A model in parts: tower, connector and adapters in its folder, the decoder where it is published.

The folder is an ordinary one but for its weights: tower.safetensors, adapters.safetensors and
parts.json, which says which decoder they were trained on.  Loading adds the adapters to that
decoder's weights (LoRA, Hu et al., 2022: W + scaling B A), so that what runs is a stock model.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModelForImageTextToText, PreTrainedConfig, PreTrainedModel

from lost_in_attention.models.reading import read_decoder
from lost_in_attention.models.smollm2 import HUB, SHA256, is_package, smollm2
from lost_in_attention.models.vlm import VisionLanguageModel
from lost_in_attention.runs.files import replace_folder
from lost_in_attention.runs.provenance import weights_digest, without_folders

PARTS, TOWER, ADAPTERS = "parts.json", "tower.safetensors", "adapters.safetensors"
# What the tower's file holds, by the start of its names in the model.
SEEING = ("model.vision_model.", "model.connector.")
PAIR = _A, _B = ".lora_A.default.weight", ".lora_B.default.weight"
_SHOWN = 3
Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Origin:
    """Which decoder a model was made with: a digest of its weights, and where they are from.

    `packaged` tells that they are the package's; `seed` is that of random ones.
    """

    weights: str
    packaged: bool
    seed: int | None


@dataclass(frozen=True, kw_only=True)
class JoinedModel(VisionLanguageModel):
    """A tower and a decoder as one model, before or after it has learned."""

    origin: Origin


class Unfit(Exception):
    """A part that is not what is needed; the text goes on after "got"."""


@contextmanager
def refused(expected: str) -> Iterator[None]:
    """Within the block an unfit part becomes a ValueError of one line, "`expected`, got ..."."""
    try:
        yield
    except Unfit as unfit:
        raise ValueError(f"{expected}, got {unfit}") from unfit


def in_parts(folder: str | Path) -> bool:
    """Whether a folder holds a model in parts."""
    return (Path(folder) / PARTS).is_file()


def has_published_decoder(name: str, folder: str | Path) -> bool:
    """Whether a model in parts, called `name`, was made with published weights, not random ones.

    Raises ValueError where its parts.json cannot be read.
    """
    with _refused_as(name):
        return _told(Path(folder))["seed"] is None


def joined_model(
    name: str,
    folder: str | Path,
    config: PreTrainedConfig,
    *,
    dtype: torch.dtype = torch.float32,
    decoder: str | None = None,
) -> PreTrainedModel:
    """The whole model of a folder in parts; `decoder` is what `smollm2` takes.

    Raises what `smollm2` does, and ValueError: parts that are not those of one model, which is
    called `name`, or another decoder than they were trained on.
    """
    folder = Path(folder)
    with _refused_as(name):
        told = _told(folder)
        tower, adapters = read_weights(folder / TOWER), read_weights(folder / ADAPTERS)
        model = AutoModelForImageTextToText.from_config(config, dtype=torch.float32)
        fill_tower(model, tower)
        layers = _adapted(model.get_decoder(), adapters, told["adapted"])
    source = smollm2(decoder) if told["seed"] is None else told["seed"]
    fill_decoder(model, source)
    _check_decoder(name, model.get_decoder(), told["decoder_weights"], source)
    _add(layers, adapters, told["scaling"])
    model.tie_weights()
    return model.to(dtype)


def fill_decoder(model: PreTrainedModel, source: str | int) -> None:
    """Give a model's decoder the published weights in a folder, or random ones under a seed.

    Raises ValueError if those weights are incomplete or of another model's shapes.
    """
    decoder = model.get_decoder()
    if isinstance(source, str):
        weights = read_decoder(source).get_decoder().state_dict()
        if other := _differing(weights, decoder.state_dict()):
            raise ValueError(
                f"decoder: expected weights of the model's shapes, got other ones in "
                f"{without_folders(source)!r}: {other}"
            )
        decoder.load_state_dict(weights)
        return
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(source)
        decoder.load_state_dict(type(decoder)(decoder.config).state_dict())


def fill_tower(model: PreTrainedModel, weights: Weights) -> None:
    """Tower and connector; raises Unfit unless all of their weights are there and no others."""
    wanted = {name: each for name, each in model.state_dict().items() if name.startswith(SEEING)}
    if other := _differing(weights, wanted):
        raise Unfit(f"other weights than those of tower and connector: {other}")
    model.load_state_dict(weights, strict=False)


def origin_of(decoder: nn.Module, source: str, seed: int | None) -> Origin:
    """Of a decoder without adapters, which was filled from `source` or under `seed`."""
    return Origin(weights_digest(decoder), seed is None and is_package(source), seed)


def save_in_parts(vlm: JoinedModel, folder: Path, *, scaling: float) -> None:
    """Write a model with adapters (peft's) as a folder in parts, weights in bf16.

    What lies in `folder` is replaced once everything is written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
        made = Path(temporary) / folder.name
        made.mkdir()
        _write(vlm, made, scaling)
        replace_folder(made, folder)


def _write(vlm: JoinedModel, folder: Path, scaling: float) -> None:
    weights = vlm.model.state_dict()
    seeing = {name: weight for name, weight in weights.items() if name.startswith(SEEING)}
    adapters = _adapters(vlm.decoder)
    vlm.model.config.save_pretrained(folder)
    vlm.model.generation_config.save_pretrained(folder)
    vlm.processor.save_pretrained(folder)
    save_file(_bf16(seeing), folder / TOWER)
    save_file(_bf16(adapters), folder / ADAPTERS)
    told = {
        "decoder": HUB if vlm.origin.packaged else None,
        "sha256": SHA256 if vlm.origin.packaged else None,
        "decoder_weights": vlm.origin.weights,
        "seed": vlm.origin.seed,
        "scaling": scaling,
        "adapted": sum(name.endswith(_A) for name in adapters),
    }
    (folder / PARTS).write_text(json.dumps(told, indent=1) + "\n")


def _bf16(weights: Mapping[str, Tensor]) -> Weights:
    return {name: weight.to(torch.bfloat16).contiguous() for name, weight in weights.items()}


def _adapters(decoder: nn.Module) -> Weights:
    return {name: weight for name, weight in decoder.state_dict().items() if "lora_" in name}


def _text_or_none(value: Any) -> bool:
    return value is None or isinstance(value, str)


# What parts.json says, and what it may be.
_TOLD: dict[str, Callable[[Any], bool]] = {
    "decoder": _text_or_none,
    "sha256": _text_or_none,
    "decoder_weights": lambda value: isinstance(value, str),
    "seed": lambda value: value is None or (type(value) is int and 0 <= value < 2**63),
    "scaling": lambda value: type(value) in (int, float) and 0 < value < math.inf,
    "adapted": lambda value: type(value) is int and value > 0,
}


def _told(folder: Path) -> dict[str, Any]:
    """What parts.json says; raises Unfit unless it is all there and of the right types."""
    if whole := sorted(path.name for path in folder.glob("model*.safetensors*")):
        raise Unfit(f"{whole[0]} beside {PARTS}")
    try:
        told = json.loads((folder / PARTS).read_text())
    except (OSError, ValueError) as error:
        raise Unfit(f"{PARTS} that cannot be read: {_first_line(error)}") from error
    if not isinstance(told, dict) or told.keys() != _TOLD.keys():
        keys = sorted(told) if isinstance(told, dict) else told
        raise Unfit(f"{PARTS} with {keys} in the place of {sorted(_TOLD)}")
    if wrong := {key: told[key] for key, fits in _TOLD.items() if not fits(told[key])}:
        raise Unfit(f"{PARTS} with {wrong}")
    return told


def read_weights(file: Path) -> Weights:
    """The tensors of a safetensors file.

    Raises Unfit if there is none that can be read, or if one holds other than finite numbers.
    """
    try:
        weights = load_file(file)
    except (OSError, SafetensorError) as error:
        raise Unfit(f"{file.name} that cannot be read: {_first_line(error)}") from error
    if other := sorted(name for name, weight in weights.items() if not _finite(weight)):
        raise Unfit(f"{file.name} with other than finite decimal numbers: {other[:_SHOWN]}")
    return weights


def _finite(weight: Tensor) -> bool:
    return weight.is_floating_point() and bool(weight.isfinite().all())


def _refused_as(name: str) -> AbstractContextManager[None]:
    return refused(f"name: expected {name!r} to be a model in parts ({PARTS}, {TOWER}, {ADAPTERS})")


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _differing(weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    """A few names that only one of the two has, or that have two shapes."""
    shapes, others = ({n: w.shape for n, w in each.items()} for each in (weights, wanted))
    names = shapes.keys() | others.keys()
    return sorted(name for name in names if shapes.get(name) != others.get(name))[:_SHOWN]


def _adapted(decoder: nn.Module, adapters: Weights, number: int) -> dict[str, nn.Linear]:
    """The layers that adapters belong to; raises Unfit unless they fit, and are `number`."""
    linear = {name: m for name, m in decoder.named_modules() if isinstance(m, nn.Linear)}
    names = {name.removesuffix(_A).removesuffix(_B) for name in adapters}
    pairs = {name + end for name in names for end in (_A, _B)}
    if other := sorted((names - linear.keys()) | (pairs ^ adapters.keys())):
        raise Unfit(f"{ADAPTERS} with other than pairs for linear layers: {other[:_SHOWN]}")
    if len(names) != number:
        raise Unfit(f"{ADAPTERS} for {len(names)} layers in the place of {number}")
    layers = {name: linear[name] for name in sorted(names)}
    for name, layer in layers.items():
        down, up = adapters[name + _A], adapters[name + _B]
        rank = len(down) if down.ndim else 0
        if (up.shape, down.shape) != ((layer.out_features, rank), (rank, layer.in_features)):
            raise Unfit(f"{ADAPTERS} of another shape: {name}")
    return layers


def _check_decoder(name: str, decoder: nn.Module, expected: str, source: str | int) -> None:
    got = weights_digest(decoder)
    if got != expected:
        found = f"seed {source}" if isinstance(source, int) else repr(without_folders(source))
        raise ValueError(
            f"decoder: expected the weights that {name!r} was trained on, {expected}, "
            f"got {got} from {found}"
        )


def _add(layers: Mapping[str, nn.Linear], adapters: Weights, scaling: float) -> None:
    """Add B A, scaled, to every weight that has adapters."""
    with torch.no_grad():
        for name, layer in layers.items():
            down, up = adapters[name + _A].float(), adapters[name + _B].float()
            layer.weight += scaling * up @ down
