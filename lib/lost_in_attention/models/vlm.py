"""A model and its processor, with the few things every experiment asks of the pair."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor, nn
from transformers import BatchFeature, PreTrainedModel
from transformers.processing_utils import ProcessorMixin

from lost_in_attention.images import rgb
from lost_in_attention.models.families import Family, family_of

_MARKER = re.compile(r"<image (\d+)>")
_IN_FRONT = re.compile(r"\s*(?:<image \d+>\s*)+")
_QUOTED = 80


@dataclass(frozen=True)
class VisionLanguageModel:
    """A stock transformers image-text model.

    `name` is what it was loaded by (of an absolute path the last part), `revision` the commit of
    the hub's repository, None for a model that is not from there.
    """

    model: PreTrainedModel
    processor: ProcessorMixin
    name: str
    revision: str | None = None

    @property
    def device(self) -> torch.device:
        """Where the model's inputs belong: with the weights that embed them."""
        return self.model.get_input_embeddings().weight.device

    @property
    def devices(self) -> tuple[torch.device, ...]:
        """Where its weights lie, that of its inputs first; several where layers are spread."""
        return tuple(dict.fromkeys((self.device, *(w.device for w in self.model.parameters()))))

    @property
    def quantization(self) -> str | None:
        """What its weights are quantised to, "8bit" or "4bit"; None where they are not."""
        model = self.model
        kept = (bits for bits in (8, 4) if getattr(model, f"is_loaded_in_{bits}bit", False))
        return next((f"{bits}bit" for bits in kept), None)

    @property
    def decoder(self) -> nn.Module:
        """The text decoder, the part whose residual stream is measured."""
        return self.model.get_decoder()

    @property
    def layers(self) -> nn.ModuleList:
        """The text decoder's layers, from the first to the last."""
        return self.decoder.layers

    @property
    def family(self) -> Family:
        """Who is asked for what is special to the model's family.

        Raises ValueError if it is of none that is known.
        """
        return family_of(self.model.config, "vlm")(self.model, self.processor)

    @property
    def context(self) -> int:
        """How many tokens the model was made for, prompt and reply together."""
        return min(
            self.decoder.config.max_position_embeddings,
            self.processor.tokenizer.model_max_length,
        )

    def prepare(
        self, images: Sequence[Image.Image | Sequence[Image.Image]], prompts: Sequence[str]
    ) -> BatchFeature:
        """Inputs for each prompt with its image or images, padded on the left, on the device.

        Markers "<image 1>", "<image 2>" in a prompt say where its images stand; without any,
        all stand before the text.  Where the chat template puts all images first, markers stay
        in the text as references (see `referred`).

        Raises:
            ValueError: no prompts, not as many as images, a marker without its image, a prompt
                that is longer than the model's context, or what `images.rgb` raises.
        """
        if len(images) != len(prompts) or not prompts:
            raise ValueError(
                "images, prompts: expected as many images as prompts, at least one, "
                f"got {len(images)} and {len(prompts)}"
            )
        given = [[image] if isinstance(image, Image.Image) else list(image) for image in images]
        marked = any(map(_MARKER.search, prompts))
        arrange = referred if marked and self._images_first() else interleave
        chats = [arrange(each, prompt) for each, prompt in zip(given, prompts, strict=True)]
        shown = [[part["image"] for part in chat if part["type"] == "image"] for chat in chats]
        inputs = self.processor(
            text=[self._render(chat) for chat in chats],
            images=[list(map(rgb, each)) for each in shown if each] or None,
            padding=True,
            return_tensors="pt",
        )
        self.check_context(inputs)
        return inputs.to(self.device, dtype=self.model.dtype)

    def check_context(self, inputs: Mapping[str, Any], new_tokens: int = 0) -> None:
        """Raises ValueError if a prompt and `new_tokens` more exceed `context`; quotes its end."""
        lengths = inputs["attention_mask"].sum(dim=1)
        longest = int(lengths.argmax())
        needed = int(lengths[longest]) + new_tokens
        if needed > self.context:
            ids = inputs["input_ids"][longest]
            text = self.processor.tokenizer.decode(ids, skip_special_tokens=True)
            raise ValueError(
                f"prompts: expected at most {self.context} tokens, the context of {self.name!r}, "
                f"got {needed} for the one that ends in {text[-_QUOTED:]!r}"
                + (f", {new_tokens} of them for the reply" if new_tokens else "")
            )

    def visual_mask(self, inputs: Mapping[str, Any]) -> Bool[Tensor, "batch tokens"]:
        """Where the visual tokens stand among the decoder's input tokens."""
        return inputs["input_ids"] == self.model.config.image_token_id

    def encode_images(self, images: Sequence[Image.Image]) -> list[Float[Tensor, "_ hidden"]]:
        """What the vision tower hands to the decoder for each image."""
        pixels = self.pixels(images)
        return list(self.model.model.get_image_features(**pixels, return_dict=True).pooler_output)

    def pixels(self, images: Sequence[Image.Image]) -> BatchFeature:
        """What the vision tower takes of images that are each in a prompt of its own."""
        pixels = self.family.pixels(list(map(rgb, images)))
        return pixels.to(self.device, dtype=self.model.dtype)

    def _images_first(self) -> bool:
        """Whether the chat template moves images before the text, as LLaVA's do."""
        rendered = self._render([_text("before"), {"type": "image"}])
        return "before" not in rendered.partition(self.processor.image_token)[0]

    def _render(self, content: list[dict]) -> str:
        parts = [{key: v for key, v in part.items() if key != "image"} for part in content]
        return self.processor.apply_chat_template(
            [{"role": "user", "content": parts}], add_generation_prompt=True
        )


def interleave(images: Sequence[Image.Image], prompt: str) -> list[dict]:
    """A chat message's parts: images where the prompt's markers stand, text between them.

    An image that is marked twice stands twice.  Text keeps its blanks, except around a single
    marker in front of everything: that says no more than a prompt without markers.

    Raises ValueError if a marker has no image.
    """
    marked = _marked(images, prompt)
    if not marked:
        return [*map(_picture, images), _text(prompt)]
    front = _IN_FRONT.match(prompt) if len(marked) == 1 else None
    rest = _MARKER.split(prompt[front.end() :] if front else prompt)
    numbers = _MARKER.findall(front[0]) if front else []
    parts = [_picture(images[int(number) - 1]) for number in numbers]
    for index, piece in enumerate(rest):
        if index % 2:
            parts.append(_picture(images[int(piece) - 1]))
        elif piece:
            parts.append(_text(piece))
    return parts


def referred(images: Sequence[Image.Image], prompt: str) -> list[dict]:
    """A chat message's parts: each marked image once, in the order of their numbers, then the text.

    The markers stay in the text, where they say which image is meant.  Only that of a single
    image in front of everything goes: it says no more than a prompt without markers.

    Raises ValueError if a marker has no image.
    """
    marked = _marked(images, prompt)
    shown = [images[number - 1] for number in sorted(set(marked))] if marked else images
    if len(marked) == 1 and (front := _IN_FRONT.match(prompt)):
        prompt = prompt[front.end() :]
    return [*map(_picture, shown), _text(prompt)]


def _marked(images: Sequence[Image.Image], prompt: str) -> list[int]:
    """The numbers of the prompt's markers, as they come."""
    numbers = [int(number) for number in _MARKER.findall(prompt)]
    for number in numbers:
        if not 1 <= number <= len(images):
            raise ValueError(
                f"prompt: expected markers of its {len(images)} images, got <image {number}>"
            )
    return numbers


def _picture(image: Image.Image) -> dict:
    return {"type": "image", "image": image}


def _text(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}
