"""Load any of the four families, small or published, and prepare inputs for it."""

from lost_in_attention.models.load import load
from lost_in_attention.models.processors import load_processor
from lost_in_attention.models.vlm import VisionLanguageModel

__all__ = ["VisionLanguageModel", "load", "load_processor"]
