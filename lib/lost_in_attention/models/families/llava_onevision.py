"""LLaVA-OneVision: a SigLIP tower, images in up to nine tiles; several in a prompt each in one."""

from typing import Any

from transformers import LlavaOnevisionProcessor
from transformers.processing_utils import ProcessorMixin
from transformers.utils import is_torchvision_available

from lost_in_attention.models.families.anyres import AnyRes
from lost_in_attention.models.families.base import Inputs, Published

# Tables 6 and 7, a decoder of 28 layers.
RANGES = ((0, 6), (7, 13), (14, 20), (21, 27), (0, 13), (14, 27))


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


VideolessLlavaOnevisionProcessor.__name__ = "LlavaOnevisionProcessor"


class LlavaOnevision(AnyRes):
    """Large images are shrunk after the tower, so that one token mixes neighbouring patches."""

    key = "llava-onevision"
    model_types = ("llava_onevision",)
    published = Published(
        depth=28, layers=(21, 27), heads=(0.3, 0.6), ranges=RANGES, ranking="two_sided_scores"
    )

    @classmethod
    def processor_class(cls, model_type: str) -> type[ProcessorMixin] | None:
        return None if is_torchvision_available() else VideolessLlavaOnevisionProcessor

    @property
    def packing(self) -> dict[str, Any]:
        return {"vision_aspect_ratio": self.model.config.vision_aspect_ratio}

    def cuts(self, inputs: Inputs) -> list[bool]:
        """Only an image that is alone in its prompt is cut into parts."""
        counts = inputs.get("batch_num_images")
        if counts is None:
            return super().cuts(inputs)
        return [int(count) == 1 for count in counts for _ in range(int(count))]
