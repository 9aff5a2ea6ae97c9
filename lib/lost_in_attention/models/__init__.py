"""Load a model of any of the families, small or published, and prepare inputs for it."""

from lost_in_attention.models.devices import usable_device
from lost_in_attention.models.load import ModelName, each_model, load, release
from lost_in_attention.models.memory import fitting_batch, longest_prompt
from lost_in_attention.models.processors import load_processor
from lost_in_attention.models.vlm import VisionLanguageModel

__all__ = [
    "ModelName",
    "VisionLanguageModel",
    "each_model",
    "fitting_batch",
    "load",
    "load_processor",
    "longest_prompt",
    "release",
    "usable_device",
]
