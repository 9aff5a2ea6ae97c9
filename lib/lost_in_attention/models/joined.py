"""A model in parts: tower, connector and adapters in its folder, the decoder where it is published.

The folder is an ordinary one but for its weights: tower.safetensors, adapters.safetensors and
parts.json, which names the decoder.  Loading adds the adapters to the decoder's weights (LoRA, Hu
et al., 2022: W + scaling B A), so that what runs is a stock model.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    PreTrainedConfig,
    PreTrainedModel,
)

from lost_in_attention.models.smollm2 import HUB, SHA256, smollm2
from lost_in_attention.models.vlm import VisionLanguageModel
from lost_in_attention.runs.files import replace_folder

PARTS, TOWER, ADAPTERS = "parts.json", "tower.safetensors", "adapters.safetensors"
# What the tower's file holds, by the start of its names in the model.
SEEING = ("model.vision_model.", "model.connector.")
_A, _B = ".lora_A.default.weight", ".lora_B.default.weight"
Weights = dict[str, Tensor]


def in_parts(folder: str | Path) -> bool:
    """Whether a folder holds a model in parts."""
    return (Path(folder) / PARTS).is_file()


def joined_model(
    folder: str | Path,
    config: PreTrainedConfig,
    *,
    dtype: torch.dtype = torch.float32,
    decoder: str | None = None,
) -> PreTrainedModel:
    """The whole model of a folder in parts; `decoder` is what `smollm2` takes.

    Raises what `smollm2` does, and ValueError where the parts are not those of one model.
    """
    folder = Path(folder)
    told = json.loads((folder / PARTS).read_text())
    model = AutoModelForImageTextToText.from_config(config, dtype=torch.float32)
    fill_decoder(model, smollm2(decoder) if told["seed"] is None else told["seed"])
    _fill_tower(model, folder / TOWER)
    _add(model.get_decoder(), load_file(folder / ADAPTERS), told["scaling"], folder / ADAPTERS)
    model.tie_weights()
    return model.to(dtype)


def fill_decoder(model: PreTrainedModel, source: str | int) -> None:
    """Give a model's decoder the published weights in a folder, or random ones under a seed."""
    decoder = model.get_decoder()
    if isinstance(source, str):
        text = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
        decoder.load_state_dict(text.get_decoder().state_dict())
        return
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(source)
        decoder.load_state_dict(type(decoder)(decoder.config).state_dict())


def save_in_parts(
    vlm: VisionLanguageModel, folder: Path, *, scaling: float, seed: int | None = None
) -> None:
    """Write a model with adapters (peft's) as a folder in parts, weights in bf16.

    `seed` is that of a decoder with random weights; without it the decoder is the published one.
    What lies in `folder` is replaced once everything is written.
    """
    made = folder.with_name(f".{folder.name}.made")
    made.mkdir(parents=True, exist_ok=True)
    weights = vlm.model.state_dict()
    seeing = {name: weight for name, weight in weights.items() if name.startswith(SEEING)}
    vlm.model.config.save_pretrained(made)
    vlm.model.generation_config.save_pretrained(made)
    vlm.processor.save_pretrained(made)
    save_file(_bf16(seeing), made / TOWER)
    save_file(_bf16(_adapters(vlm.decoder)), made / ADAPTERS)
    told = {"decoder": HUB, "sha256": SHA256, "seed": seed, "scaling": scaling}
    (made / PARTS).write_text(json.dumps(told, indent=1) + "\n")
    replace_folder(made, folder)


def _bf16(weights: Mapping[str, Tensor]) -> Weights:
    return {name: weight.to(torch.bfloat16).contiguous() for name, weight in weights.items()}


def _adapters(decoder: nn.Module) -> Weights:
    return {name: weight for name, weight in decoder.state_dict().items() if "lora_" in name}


def _fill_tower(model: PreTrainedModel, file: Path) -> None:
    """Tower and connector; all of their weights and no others."""
    weights = load_file(file)
    wanted = {name for name in model.state_dict() if name.startswith(SEEING)}
    if weights.keys() != wanted:
        other = sorted(weights.keys() ^ wanted)[:3]
        raise ValueError(f"{file.name}: expected the weights of tower and connector, not {other}")
    model.load_state_dict(weights, strict=False)


def _add(decoder: nn.Module, adapters: Weights, scaling: float, file: Path) -> None:
    """Add B A, scaled, to every weight that has adapters."""
    names = {name.removesuffix(_A).removesuffix(_B) for name in adapters}
    modules = dict(decoder.named_modules())
    if unknown := sorted(names - modules.keys()):
        raise ValueError(f"{file.name}: expected adapters of its layers, got {unknown[:3]}")
    with torch.no_grad():
        for name in names:
            down, up = adapters[name + _A].float(), adapters[name + _B].float()
            modules[name].weight += scaling * up @ down
