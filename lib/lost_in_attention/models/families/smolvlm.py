"""SmolVLM: a SigLIP tower whose patches are shuffled into few tokens, images in tiles.

An image is stretched to whole tiles and cut row by row; the whole image, stretched to one tile,
comes last.  Text stands between the tiles' tokens.  Pixel shuffle lays m x m neighbouring patches
behind each other in one token, row by row.  The first SmolVLM models are published as Idefics3,
which computes the same.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn
from transformers import BatchFeature, Idefics3Processor, SmolVLMProcessor
from transformers.image_utils import make_flat_list_of_images
from transformers.models.smolvlm.image_processing_pil_smolvlm import MAX_IMAGE_SIZE
from transformers.processing_utils import ProcessorMixin

from lost_in_attention.models.families.base import Family, Frame, Inputs, Published


class _ImageByImage(ProcessorMixin):
    """A row of pixel values holds the tiles of one image, not those of a prompt's images."""

    def validate_inputs(self, images=None, text=None, **kwargs):
        """All prompts together have as many images as they mark; a prompt may have none."""
        ProcessorMixin.validate_inputs(self, images=images, text=text, **kwargs)

    def _process_images(self, images, **kwargs):
        rows = [[image] for image in make_flat_list_of_images(images)]
        return super()._process_images(rows, **kwargs)


class VideolessSmolVLMProcessor(_ImageByImage, SmolVLMProcessor):
    """SmolVLM's processor for images alone; spelling a video's frames takes num2words."""

    def __init__(
        self, image_processor=None, tokenizer=None, image_seq_len=169, chat_template=None, **kwargs
    ):
        self.fake_image_token = getattr(tokenizer, "fake_image_token", "<fake_token_around_image>")
        self.image_token = getattr(tokenizer, "image_token", "<image>")
        self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
        self.global_image_token = getattr(tokenizer, "global_image_token", "<global-img>")
        self.image_seq_len = image_seq_len
        ProcessorMixin.__init__(
            self, image_processor, tokenizer, chat_template=chat_template, **kwargs
        )

    @classmethod
    def get_attributes(cls) -> list[str]:
        return ["image_processor", "tokenizer"]

    def apply_chat_template(self, *args, **kwargs):
        """Without the settings of videos."""
        return ProcessorMixin.apply_chat_template(self, *args, **kwargs)


class ImageByImageIdefics3Processor(_ImageByImage, Idefics3Processor):
    """Idefics3's processor, image by image."""


VideolessSmolVLMProcessor.__name__ = "SmolVLMProcessor"
ImageByImageIdefics3Processor.__name__ = "Idefics3Processor"


class SmolVLM(Family):
    """The paper has no SmolVLM and the authors no code for it.

    It takes the settings of LLaVA-OneVision, which shows tiles to a SigLIP tower too and is the
    nearest in depth, at the same share of the depth: 30 layers in SmolVLM-256M, 28 there.
    """

    key = "smolvlm"
    model_types = ("smolvlm", "idefics3")
    published = Published(
        depth=30, layers=(22, 29), heads=(0.3, 0.6), ranking="two_sided_scores",
        ranges=((0, 7), (8, 14), (15, 21), (22, 29), (0, 14), (15, 29)),
    )  # fmt: skip

    @classmethod
    def processor_class(cls, model_type: str) -> type[ProcessorMixin] | None:
        idefics = model_type == "idefics3"
        return ImageByImageIdefics3Processor if idefics else VideolessSmolVLMProcessor

    @property
    def tower(self) -> nn.Module:
        return self.model.model.vision_model

    @property
    def merge(self) -> int:
        return self.model.config.scale_factor

    def among_patches(
        self, attention: Float[Tensor, "tiles queries keys"]
    ) -> Float[Tensor, "tiles patches patches"]:
        """Queries and keys in the order of the pixel shuffle."""
        side, merge = math.isqrt(attention.shape[-1]), self.merge
        place = torch.arange(side**2, device=attention.device)
        place = place.view(side // merge, merge, side // merge, merge).transpose(1, 2).flatten()
        return attention[:, place][:, :, place]

    def pixels(self, images: Sequence[Image.Image]) -> BatchFeature:
        rows = [[image] for image in images]
        return self.processor.image_processor(rows, return_tensors="pt")

    def tile_counts(self, inputs: Inputs) -> list[int]:
        """As the model counts them: tiles that are zero everywhere only fill up a row."""
        return (inputs["pixel_values"] != 0).any(-1).any(-1).any(-1).sum(1).tolist()

    def frames(self, inputs: Inputs, sizes: Sequence[tuple[int, int]]) -> list[list[Frame]]:
        counts = self.tile_counts(inputs)
        return [self._tiles(*size, count) for size, count in zip(sizes, counts, strict=True)]

    def _tiles(self, width: int, height: int, count: int) -> list[Frame]:
        """The longer side has a fixed number of tiles; the shorter one has what it needs."""
        whole = (0.0, 0.0, float(width), float(height))
        if count == 1:
            return [whole]
        processor = self.processor.image_processor
        longest = min(processor.size["longest_edge"], MAX_IMAGE_SIZE)
        long = math.ceil(longest / processor.max_image_size["longest_edge"])
        short = (count - 1) // long
        rows, columns = (short, long) if width >= height else (long, short)
        x, y = width / columns, height / rows
        parts = [
            (column * x, row * y, (column + 1) * x, (row + 1) * y)
            for row in range(rows)
            for column in range(columns)
        ]
        return [*parts, whole]
