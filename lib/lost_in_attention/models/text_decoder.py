"""A language decoder by itself: it reads plain text, has no tower, and is measured as any other.

Its prompts are texts as they are, without a chat template; samples with images are refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool
from PIL import Image
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BatchFeature,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from lost_in_attention.models.devices import usable_device
from lost_in_attention.models.reading import decoder_config, read_decoder
from lost_in_attention.models.smollm2 import is_package, smollm2
from lost_in_attention.models.vlm import VisionLanguageModel
from lost_in_attention.runs.numbers import check_seed
from lost_in_attention.runs.provenance import without_folders

NAME = "smollm2"


class TextProcessor:
    """A tokenizer in the place of a processor of images and texts."""

    # Plain text is its own template.
    chat_template = "{{ messages[0]['content'] }}"

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        tokenizer.padding_side = "left"

    def __call__(self, text: list[str], images: None, **how: Any) -> BatchFeature:
        return BatchFeature(dict(self.tokenizer(text, **how)))

    def batch_decode(self, ids: Tensor, **how: Any) -> list[str]:
        """The tokenizer's text of each row of ids."""
        return self.tokenizer.batch_decode(ids, **how)

    def to_json_string(self) -> str:
        """Nothing but the tokenizer decides what is read, and that is told elsewhere."""
        return "{}"


@dataclass(frozen=True)
class TextDecoder(VisionLanguageModel):
    """A causal language model that takes the place of a vision-language model's decoder."""

    processor: TextProcessor

    def prepare(
        self, images: Sequence[Image.Image | Sequence[Image.Image]], prompts: Sequence[str]
    ) -> BatchFeature:
        """Inputs for each prompt, padded on the left, on the device.

        `images` holds an empty sequence for each prompt.

        Raises ValueError: no prompts, not as many sequences of images, an image, a prompt that is
        empty or longer than the context.
        """
        if not prompts:
            raise ValueError("prompts: expected at least one, got none")
        if len(images) != len(prompts):
            raise ValueError(
                "images, prompts: expected as many images as prompts, "
                f"got {len(images)} and {len(prompts)}"
            )
        if not all(prompts):
            raise ValueError("prompts: expected texts, got an empty one")
        if any(isinstance(each, Image.Image) or len(each) for each in images):
            raise ValueError(f"images: expected none for {self.name}, which reads text alone")
        inputs = self.processor(list(prompts), None, padding=True, return_tensors="pt")
        self.check_context(inputs)
        return inputs.to(self.device)

    def visual_mask(self, inputs: Mapping[str, Any]) -> Bool[Tensor, "batch tokens"]:
        return torch.zeros_like(inputs["attention_mask"], dtype=torch.bool)


def load_text_decoder(
    original: str | None = None,
    *,
    random_seed: int | None = None,
    device: str | torch.device = "cpu",
) -> TextDecoder:
    """SmolLM2-135M-Instruct as `smollm2` finds it, in float32.

    With `random_seed` a decoder of the same shape that has learned nothing, the control.  It is
    called `NAME` if it is the package's, and otherwise what was given.

    Raises what `smollm2` does, and ValueError on a device that is not there, a seed that is not a
    whole number from 0 on, and what `read_decoder` does.
    """
    if random_seed is not None:
        check_seed("random_seed", random_seed)
    device, source = usable_device(device), smollm2(original)
    name = NAME if is_package(source) else str(without_folders(source))
    if random_seed is None:
        model = read_decoder(source)
    else:
        model, name = _untrained(source, random_seed), f"{name} with random weights"
    tokenizer = AutoTokenizer.from_pretrained(source)
    return TextDecoder(model.to(device).eval(), TextProcessor(tokenizer), name)


def _untrained(source: str, seed: int) -> PreTrainedModel:
    config = decoder_config(source)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AutoModelForCausalLM.from_config(config)
