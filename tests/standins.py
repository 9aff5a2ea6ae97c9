"""Folders that are like published ones in everything but size: made from the small models.

A published folder differs from ours in the names and the completeness of its weights, in its
processor's files and in its configuration; each function here changes one of these.  And a loaded
model that has what the small ones have not: a sink.
"""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.runs.paths import data_folder

Weights = dict[str, torch.Tensor]
# Prefixes of ours, and of LLaVA's original release, which Yi-VL took over.
ORIGINAL = {
    "language_model.model.": "model.",
    "multi_modal_projector.linear_1": "model.mm_projector.0",
    "multi_modal_projector.linear_2": "model.mm_projector.2",
    "vision_tower.": "model.vision_tower.vision_tower.",
}


@contextmanager
def writing_a_sink(
    vlm: VisionLanguageModel, *, layer: int, place: int, feature: int
) -> Iterator[VisionLanguageModel]:
    """Within the block the FFN of a layer writes a massive activation on one token."""

    def write(module, args, output):
        output = output.clone()
        output[:, place, feature] += 1e7
        return output

    handle = vlm.layers[layer].mlp.register_forward_hook(write)
    try:
        yield vlm
    finally:
        handle.remove()


def copied(name: str, folder: Path) -> Path:
    """A copy of a small model that may be changed."""
    return Path(shutil.copytree(data_folder() / "models" / name, folder / name))


def change_weights(folder: Path, change: Callable[[Weights], Weights]) -> None:
    """Rewrite the weights as `change` returns them."""
    file = folder / "model.safetensors"
    save_file(change(load_file(file)), file, {"format": "pt"})


def change_json(folder: Path, file: str, **settings: Any) -> None:
    """Set keys of a JSON file; None takes a key away.  A file that is missing is made."""
    path = folder / file
    content = json.loads(path.read_text()) if path.exists() else {}
    content = {key: value for key, value in (content | settings).items() if value is not None}
    path.write_text(json.dumps(content))


def without(pattern: str) -> Callable[[Weights], Weights]:
    """Leaves out the weights whose names match."""
    return lambda weights: {k: v for k, v in weights.items() if not re.search(pattern, k)}


def original_names(weights: Weights) -> Weights:
    """The weights under the names of LLaVA's original release."""
    renamed = {}
    for name, weight in weights.items():
        old = next((prefix for prefix in ORIGINAL if name.startswith(prefix)), "")
        renamed[ORIGINAL.get(old, "") + name.removeprefix(old)] = weight
    return renamed


def move_template_to_tokenizer(folder: Path) -> None:
    """The chat template in tokenizer_config.json alone, as many fine-tunes have it."""
    file = folder / "chat_template.jinja"
    change_json(folder, "tokenizer_config.json", chat_template=file.read_text())
    file.unlink()


def name_image_processor(folder: Path, kind: str) -> None:
    """The image processor in a file of its own, under the given class name."""
    own = json.loads((folder / "processor_config.json").read_text())
    settings = own["image_processor"] | {"image_processor_type": kind}
    change_json(folder, "preprocessor_config.json", **settings)
    change_json(folder, "processor_config.json", image_processor=None)
