"""A batch's images, encoded once: they travel as data, with what a plan's priors need of them.

`encoded` takes the pixels out of a batch's inputs and puts what the vision tower made of them in
their place; any number of passes, with and without plans, can then start from the same images.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from inspect import signature
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPooling

from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.models.token_patches import token_patches
from lost_in_attention.models.tower_attention import recorded_attention
from lost_in_attention.sap.plan import SharedAttentionPrior
from lost_in_attention.sap.priors import (
    complexity_prior,
    encoder_prior,
    patch_complexity,
    uniform_prior,
)

# Where transformers looks for images that are encoded already.
OUTPUTS, IMAGE = "mm_encoder_outputs", "image"


@dataclass(frozen=True)
class SeenImage:
    """An image of the batch: its visual tokens, a number that tells its pixels, and its prior.

    Noise has no prior here: it is drawn for a whole prompt.
    """

    tokens: int
    fingerprint: int
    prior: Float[Tensor, " tokens"] | None


@dataclass(frozen=True, eq=False)
class BatchImages:
    """A batch's images as the vision tower takes them (`inputs`), and their numbers of tokens."""

    vlm: VisionLanguageModel
    inputs: Mapping[str, Any]
    counts: Sequence[int]

    def under(self, plan: SharedAttentionPrior) -> list[SeenImage]:
        """The images with their priors under `plan`."""
        priors = self._priors(plan)
        return [SeenImage(*image) for image in zip(self.counts, self._prints, priors, strict=True)]

    @cached_property
    def _prints(self) -> list[int]:
        tiles = self.vlm.family.token_pixels(self.inputs)
        return [zlib.crc32(each.cpu().numpy().tobytes()) for each in tiles]

    @cached_property
    def _complexity(self) -> list[Float[Tensor, " tokens"]]:
        return token_patches(self.vlm, self.inputs, patch_complexity)

    @cached_property
    def _recorder(self):
        """A pass of its own, as few plans ask for the encoder's map."""
        with torch.no_grad(), recorded_attention(self.vlm) as recorder:
            self.vlm.model.model.get_image_features(**self.inputs, return_dict=True)
        return recorder

    def _priors(self, plan: SharedAttentionPrior) -> Sequence[Float[Tensor, " tokens"] | None]:
        if plan.mode == "noise":
            return [None] * len(self.counts)
        if plan.mode == "uniform":
            return [uniform_prior(count).to(self.vlm.device) for count in self.counts]
        if plan.mode == "complexity":
            return [complexity_prior(image, variant=plan.variant) for image in self._complexity]
        pooling = "max" if plan.variant == "released" else "mean"
        received = self._recorder.in_decoder_order(self.inputs, pooling=pooling)
        return [encoder_prior(image, variant=plan.variant) for image in received]


@dataclass
class EncodedImages(BaseModelOutputWithPooling):
    """What `get_image_features` gives, and the images that it was made of."""

    images: BatchImages | None = None


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
