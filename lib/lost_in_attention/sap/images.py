"""A batch's images, encoded once: they travel as data, with what a plan's priors need of them.

`encoded` takes the pixels out of a batch's inputs and puts what the vision tower made of them in
their place; any number of passes, with and without plans, can then start from the same images.
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from inspect import signature
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPooling

from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.models.token_patches import token_patches
from lost_in_attention.models.tower_attention import Recorder, recorded_attention
from lost_in_attention.sap.priors import Scores

# Where transformers looks for images that are encoded already.
OUTPUTS, IMAGE = "mm_encoder_outputs", "image"

Pooling = Literal["mean", "max"]
PatchMeasure = Callable[[Float[Tensor, "*tiles 3 height width"]], Float[Tensor, "*tiles"]]


@dataclass(frozen=True, eq=False)
class BatchImages:
    """A batch's images as the vision tower takes them (`inputs`), and their numbers of tokens.

    What priors ask of them is computed once.
    """

    vlm: VisionLanguageModel
    inputs: Mapping[str, Any]
    counts: Sequence[int]
    _measured: dict[PatchMeasure, list[Float[Tensor, " _"]]] = field(default_factory=dict)

    @cached_property
    def seen(self) -> list["SeenImage"]:
        """The images one by one."""
        tiles = self.vlm.family.token_pixels(self.inputs)
        prints = [zlib.crc32(each.cpu().numpy().tobytes()) for each in tiles]
        each = enumerate(zip(self.counts, prints, strict=True))
        return [SeenImage(self, index, *image) for index, image in each]

    def patches(self, measure: PatchMeasure) -> list[Float[Tensor, " _"]]:
        """`measure` of the pixels behind each token, image by image."""
        if measure not in self._measured:
            self._measured[measure] = token_patches(self.vlm, self.inputs, measure)
        return self._measured[measure]

    def received(self, pooling: Pooling) -> list[Float[Tensor, " _"]]:
        """The attention that each token receives, image by image."""
        return self._recorder.in_decoder_order(self.inputs, pooling=pooling)

    @cached_property
    def _recorder(self) -> Recorder:
        """A pass of its own, as few plans ask for the encoder's map."""
        with torch.no_grad(), recorded_attention(self.vlm) as recorder:
            self.vlm.model.model.get_image_features(**self.inputs, return_dict=True)
        return recorder


@dataclass(frozen=True, eq=False)
class SeenImage:
    """An image of the batch: its number of visual tokens, and a number that tells its pixels."""

    batch: BatchImages
    index: int
    tokens: int
    fingerprint: int

    def patches(self, measure: PatchMeasure) -> Scores:
        """`measure` of the pixels behind each token."""
        return self.batch.patches(measure)[self.index]

    def received(self, pooling: Pooling) -> Scores:
        """The attention that each token receives in the encoder's last map."""
        return self.batch.received(pooling)[self.index]


@dataclass
class EncodedImages(BaseModelOutputWithPooling):
    """What `get_image_features` gives, and the images that it was made of."""

    pooler_output: list[Float[Tensor, "_ features"]] | None = None
    images: BatchImages | None = None

    def to(self, device: torch.device | str | int, **how: Any) -> "EncodedImages":
        """The features on a device, as accelerate asks where layers lie on several."""
        moved = [each.to(device, **how) for each in self.pooler_output]
        return EncodedImages(pooler_output=moved, images=self.images)


def encoded(vlm: VisionLanguageModel, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs of a batch with its pixels encoded; those without pixels as they are.

    One call serves one pass or one generation: beam search changes what it is given, so ask
    `again` for each further one.
    """
    if inputs.get("pixel_values") is None:
        return dict(inputs)
    own = signature(vlm.model.model.get_image_features).parameters
    pixels = {name: inputs[name] for name in own if inputs.get(name) is not None}
    with torch.no_grad():
        features = list(
            vlm.model.model.get_image_features(**pixels, return_dict=True).pooler_output
        )
    images = BatchImages(vlm, pixels, [len(image) for image in features])
    rest = {name: value for name, value in inputs.items() if name != "pixel_values"}
    return rest | {OUTPUTS: {IMAGE: EncodedImages(pooler_output=features, images=images)}}


def again(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The same encoded inputs for another pass or generation."""
    if OUTPUTS not in inputs:
        return dict(inputs)
    kept = inputs[OUTPUTS][IMAGE]
    copied = EncodedImages(pooler_output=list(kept.pooler_output), images=kept.images)
    return dict(inputs) | {OUTPUTS: {IMAGE: copied}}
