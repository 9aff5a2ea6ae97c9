"""One untrained model a family, of the small models' shapes, for tests that need no answers."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from transformers import (
    LlamaConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
)
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil
from transformers.processing_utils import ProcessorMixin

from lost_in_attention.digits import COLOURS, DIGIT_NAMES
from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.models.families.smolvlm import VideolessSmolVLMProcessor
from lost_in_attention.sap.images import BatchImages
from lost_in_attention.training import architecture
from lost_in_attention.training.architecture import ARCHITECTURES
from lost_in_attention.training.tokenizer import train_tokenizer

# The families with a small model, and SmolVLM, which has none.
FAMILIES = (*ARCHITECTURES, "smolvlm")
# What SmolVLM writes around the tokens of a tile.
TAGS = ["<fake_token_around_image>", "<global-img>", "<end_of_utterance>"]
TAGS += [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]


def untrained(family: str) -> VisionLanguageModel:
    """The family's model with its first, random weights; it knows the word "look" too."""
    tokenizer = train_tokenizer([f" {word}" for word in ("look", *DIGIT_NAMES, *COLOURS)] * 5)
    model, processor = build(family, tokenizer)
    return VisionLanguageModel(model.eval(), processor, family)


def build(
    family: str, tokenizer: PreTrainedTokenizerFast
) -> tuple[PreTrainedModel, ProcessorMixin]:
    """The family's model, and its processor with the given tokenizer."""
    if family != "smolvlm":
        return ARCHITECTURES[family].build(tokenizer, seed=0)
    tokenizer.add_special_tokens({"additional_special_tokens": TAGS})
    config, processor = smolvlm(tokenizer, patch_size=6)
    torch.manual_seed(0)
    return SmolVLMForConditionalGeneration(config), processor


def smolvlm(
    tokenizer: PreTrainedTokenizerFast, *, side: int = 96, patch_size: int, split: bool = True
) -> tuple[SmolVLMConfig, ProcessorMixin]:
    """Tiles of `side` pixels, at most two in a row, or one; 2 x 2 patches in a token."""
    tower = architecture._tower(depth=4) | {"image_size": side, "patch_size": patch_size}
    config = SmolVLMConfig(
        vision_config=tower,
        text_config=LlamaConfig(**architecture._decoder(tokenizer)),
        image_token_id=tokenizer.image_token_id,
        scale_factor=2,
        tie_word_embeddings=True,
    )
    images = SmolVLMImageProcessorPil(
        size={"longest_edge": 2 * side}, max_image_size={"longest_edge": side},
        image_mean=[0.5] * 3, image_std=[0.5] * 3, do_image_splitting=split,
    )  # fmt: skip
    processor = VideolessSmolVLMProcessor(
        images, tokenizer, image_seq_len=(side // patch_size // 2) ** 2,
        chat_template=tokenizer.chat_template,
    )  # fmt: skip
    return config, processor


@contextmanager
def tower_passes(vlm: VisionLanguageModel) -> Iterator[list]:
    """A list that grows with each pass of the vision tower."""
    seen = []
    hook = vlm.family.tower.register_forward_pre_hook(lambda *_: seen.append(1))
    try:
        yield seen
    finally:
        hook.remove()


@torch.inference_mode()
def received(vlm: VisionLanguageModel, images: Sequence[Image.Image]) -> list[Float[Tensor, " _"]]:
    """What each visual token receives in the encoder's last map, each image in its own prompt."""
    return BatchImages(vlm, vlm.pixels(images), counts=[]).received("mean")
