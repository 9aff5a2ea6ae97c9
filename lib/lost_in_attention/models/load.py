"""Load a model by zoo name, folder or hub id, and check that it is what it claims to be."""

from pathlib import Path

import torch
from transformers import AutoModelForImageTextToText

from lost_in_attention.models.checks import check
from lost_in_attention.models.processors import load_processor
from lost_in_attention.models.vlm import VisionLanguageModel
from lost_in_attention.paths import data_folder

# The number formats that the commands offer, by name.
DTYPES = {name: getattr(torch, name) for name in ("float32", "bfloat16", "float16")}


def load(
    name: str | Path, *, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
) -> VisionLanguageModel:
    """Load `name`: a model of the small zoo, a local folder or a hub id.

    Raises FileNotFoundError where a path is named that does not exist, ValueError where
    the model fails a check: visual tokens, attention rows, attention that is read (`check`).
    """
    source = resolve(name)
    model = AutoModelForImageTextToText.from_pretrained(source, dtype=dtype)
    vlm = VisionLanguageModel(model.to(device).eval(), load_processor(source), str(name))
    check(vlm)
    return vlm


def resolve(name: str | Path) -> str:
    """The folder of a zoo name or a path, or the hub id as it is."""
    zoo = data_folder() / "models"
    if (zoo / name / "config.json").exists():
        return str(zoo / name)
    if Path(name).is_dir():
        return str(name)
    if str(name).count("/") == 1 and not str(name).startswith((".", "/")):
        return str(name)
    known = sorted(path.parent.name for path in zoo.glob("*/config.json"))
    raise FileNotFoundError(
        f"name: expected one of {known}, an existing folder or a hub id "
        f"like 'organisation/model', got {str(name)!r}"
    )
