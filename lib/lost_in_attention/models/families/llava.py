"""LLaVA-1.5: a CLIP tower that sees the middle square of an image, or all of it padded to one."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from lost_in_attention.models.families.base import Family, Frame, Inputs, Published

# Tables 6 and 7, a decoder of 32 layers.
RANGES = (
    (2, 7), (6, 11), (12, 17), (18, 23), (24, 29), (2, 13), (14, 25), (18, 29), (22, 31),
)  # fmt: skip


class Llava(Family):
    """One tile an image."""

    key = "llava"
    model_types = ("llava",)
    published = Published(depth=32, layers=(18, 23), heads=(0.2, 0.8), ranges=RANGES)

    def among_patches(
        self, attention: Float[Tensor, "tiles queries keys"]
    ) -> Float[Tensor, "tiles patches patches"]:
        """Without the CLS token, where the decoder does not see it."""
        skipped = int(self.model.config.vision_feature_select_strategy == "default")
        return attention[:, skipped:, skipped:]

    def tile_counts(self, inputs: Inputs) -> list[int]:
        return [1] * len(inputs["pixel_values"])

    def frames(self, inputs: Inputs, sizes: Sequence[tuple[int, int]]) -> list[list[Frame]]:
        padded = getattr(self.processor.image_processor, "do_pad", False)
        return [[padded_to_square(*size) if padded else self._cropped(*size)] for size in sizes]

    def _cropped(self, width: int, height: int) -> Frame:
        """The shorter edge is resized, the middle is cut out."""
        processor = self.processor.image_processor
        edge, crop = processor.size["shortest_edge"], processor.crop_size
        short = min(width, height)
        wide, high = int(edge * width / short), int(edge * height / short)
        left, top = (wide - crop["width"]) // 2, (high - crop["height"]) // 2
        x, y = width / wide, height / high
        return left * x, top * y, (left + crop["width"]) * x, (top + crop["height"]) * y


def padded_to_square(width: int, height: int) -> Frame:
    """The frame of a square around an image in its middle."""
    side = max(width, height)
    left, top = -((side - width) // 2), -((side - height) // 2)
    return left, top, left + side, top + side
