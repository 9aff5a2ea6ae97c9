"""One untrained model a family, of the small models' shapes, for tests that need no answers."""

from collections.abc import Iterator
from contextlib import contextmanager

from lost_in_attention.digits import COLOURS, DIGIT_NAMES
from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.training.architecture import ARCHITECTURES
from lost_in_attention.training.tokenizer import train_tokenizer


def untrained(family: str) -> VisionLanguageModel:
    """The family's model with its first, random weights; it knows the word "look" too."""
    tokenizer = train_tokenizer([f" {word}" for word in ("look", *DIGIT_NAMES, *COLOURS)] * 5)
    model, processor = ARCHITECTURES[family].build(tokenizer, seed=0)
    return VisionLanguageModel(model.eval(), processor, family)


@contextmanager
def tower_passes(vlm: VisionLanguageModel) -> Iterator[list]:
    """A list that grows with each pass of the vision tower."""
    inner, seen = vlm.model.model, []
    tower = inner.visual if hasattr(inner, "visual") else inner.vision_tower
    hook = tower.register_forward_pre_hook(lambda *_: seen.append(1))
    try:
        yield seen
    finally:
        hook.remove()
