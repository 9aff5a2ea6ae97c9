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
    PreTrainedConfig,
    Qwen2_5_VLProcessor,
)
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING
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


def load_processor(
    source: str | Path, config: PreTrainedConfig | None = None, revision: str | None = None
) -> ProcessorMixin:
    """The processor of a folder or hub id, padding on the left.

    Where the folder names an image processor that transformers does not have, as many fine-tunes
    do, it is the one of the model's family; a chat template may stand with the tokenizer alone.

    Raises TypeError where only a tokenizer is found (AutoProcessor returns that silently for
    classes that it does not know) and ValueError where there is no chat template.
    """
    config = config or AutoConfig.from_pretrained(source, revision=revision)
    loader = _processor_class(config)
    processor = loader.from_pretrained(source, config=config, revision=revision)
    if not hasattr(processor, "image_processor"):
        raise TypeError(
            f"source: expected {str(source)!r} to hold an image-text processor, "
            f"got {type(processor).__name__}"
        )
    processor.chat_template = processor.chat_template or processor.tokenizer.chat_template
    if not processor.chat_template:
        raise ValueError(
            f"source: expected {str(source)!r} to hold a chat template, in a file of its own or "
            "in tokenizer_config.json, got none"
        )
    processor.tokenizer.padding_side = "left"
    return processor


def _processor_class(config: PreTrainedConfig) -> type[ProcessorMixin]:
    """The family's own, which falls back on its image processor; else whatever is found."""
    if not is_torchvision_available() and config.model_type in _VIDEOLESS:
        return _VIDEOLESS[config.model_type]
    return PROCESSOR_MAPPING.get(type(config), AutoProcessor)
