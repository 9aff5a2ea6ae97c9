"""A model and its processor, with the few things every experiment asks of the pair."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor, nn
from transformers import BatchFeature, PreTrainedModel
from transformers.processing_utils import ProcessorMixin


@dataclass(frozen=True)
class VisionLanguageModel:
    """A stock transformers image-text model; `name` is what it was loaded by."""

    model: PreTrainedModel
    processor: ProcessorMixin
    name: str

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def decoder(self) -> nn.Module:
        """The text decoder, the part whose residual stream is measured."""
        return self.model.get_decoder()

    @property
    def layers(self) -> nn.ModuleList:
        return self.decoder.layers

    def prepare(self, images: Sequence[Image.Image], questions: Sequence[str]) -> BatchFeature:
        """Inputs for one question on each image, padded on the left, on the model's device.

        Raises ValueError if there are no questions, or not as many as images.
        """
        if len(images) != len(questions) or not questions:
            raise ValueError(
                "images, questions: expected as many images as questions, at least one, "
                f"got {len(images)} and {len(questions)}"
            )
        texts = [self._prompt(question) for question in questions]
        inputs = self.processor(
            text=texts,
            images=[[image.convert("RGB")] for image in images],
            padding=True,
            return_tensors="pt",
        )
        return inputs.to(self.device, dtype=self.model.dtype)

    def visual_mask(self, inputs: BatchFeature) -> Bool[Tensor, "batch tokens"]:
        """Where the visual tokens stand among the decoder's input tokens."""
        return inputs["input_ids"] == self.model.config.image_token_id

    def encode_images(self, images: Sequence[Image.Image]) -> list[Float[Tensor, "tokens hidden"]]:
        """What the vision tower hands to the decoder for each image."""
        pixels = self.processor.image_processor(
            [image.convert("RGB") for image in images], return_tensors="pt"
        ).to(self.device, dtype=self.model.dtype)
        return list(self.model.model.get_image_features(**pixels, return_dict=True).pooler_output)

    def _prompt(self, question: str) -> str:
        content = [{"type": "image"}, {"type": "text", "text": question}]
        return self.processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True
        )
