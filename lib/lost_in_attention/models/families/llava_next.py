"""LLaVA-NeXT (LLaVA-1.6): LLaVA's tower, shown every image in tiles."""

from typing import Any

from lost_in_attention.models.families.anyres import AnyRes
from lost_in_attention.models.families.llava import Llava


class LlavaNext(AnyRes):
    """Table 2 has no LLaVA-NeXT, and the authors' code none for it.

    It takes the settings of LLaVA-1.5, whose decoder has the same depth.
    """

    key = "llava-next"
    model_types = ("llava_next",)
    published = Llava.published

    @property
    def packing(self) -> dict[str, Any]:
        return {"vision_feature_select_strategy": self.model.config.vision_feature_select_strategy}
