"""Processors, also where torchvision is missing.

Two stock processors insist on a video processor, which needs torchvision.  Their
subclasses here leave it out; nothing in this project shows a model a video.  They are
saved under the stock name, so that the folder is an ordinary one.
"""

from pathlib import Path

from transformers import (
    AutoConfig,
    AutoProcessor,
    LlavaOnevisionProcessor,
    Qwen2_5_VLProcessor,
)
from transformers.processing_utils import ProcessorMixin
from transformers.utils import is_torchvision_available


class VideolessQwen2_5_VLProcessor(Qwen2_5_VLProcessor):
    """Qwen2.5-VL's processor for images alone."""

    def __init__(self, image_processor=None, tokenizer=None, chat_template=None, **kwargs):
        super().__init__(image_processor, tokenizer, None, chat_template, **kwargs)

    @classmethod
    def get_attributes(cls) -> list[str]:
        return ["image_processor", "tokenizer"]


class VideolessLlavaOnevisionProcessor(LlavaOnevisionProcessor):
    """LLaVA-OneVision's processor for images alone."""

    def __init__(
        self,
        image_processor=None,
        tokenizer=None,
        num_image_tokens=None,
        vision_feature_select_strategy=None,
        chat_template=None,
        vision_aspect_ratio="anyres_max_9",
        **kwargs,
    ):
        super().__init__(
            image_processor,
            tokenizer,
            None,
            num_image_tokens,
            vision_feature_select_strategy,
            chat_template,
            vision_aspect_ratio=vision_aspect_ratio,
            **kwargs,
        )

    @classmethod
    def get_attributes(cls) -> list[str]:
        return ["image_processor", "tokenizer"]


VideolessQwen2_5_VLProcessor.__name__ = "Qwen2_5_VLProcessor"
VideolessLlavaOnevisionProcessor.__name__ = "LlavaOnevisionProcessor"

_VIDEOLESS = {
    "qwen2_5_vl": VideolessQwen2_5_VLProcessor,
    "llava_onevision": VideolessLlavaOnevisionProcessor,
}


def load_processor(source: str | Path) -> ProcessorMixin:
    """The processor of a folder or hub id, padding on the left.

    Raises TypeError where only a tokenizer is found: AutoProcessor returns that
    silently for classes that it does not know.
    """
    loader = AutoProcessor
    if not is_torchvision_available():
        loader = _VIDEOLESS.get(AutoConfig.from_pretrained(source).model_type, AutoProcessor)
    processor = loader.from_pretrained(source)
    if not hasattr(processor, "image_processor"):
        raise TypeError(
            f"source: expected {str(source)!r} to hold an image-text processor, "
            f"got {type(processor).__name__}"
        )
    processor.tokenizer.padding_side = "left"
    return processor
