"""The images that the model encodes, and the priors that a plan makes of them."""

import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property, wraps
from inspect import signature
from typing import Any

from jaxtyping import Float
from torch import Tensor
from transformers.utils import ModelOutput

from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.prior import (
    complexity_prior,
    encoder_prior,
    patch_complexity,
    uniform_prior,
)
from lost_in_attention.sap.plan import SharedAttentionPrior
from lost_in_attention.vision import (
    Recorder,
    image_tiles,
    recorded_attention,
    token_patches,
)


@dataclass(frozen=True)
class SeenImage:
    """An image of the batch: its visual tokens, a number that tells its pixels, and its prior.

    Noise has no prior here: it is drawn for a whole prompt.
    """

    tokens: int
    fingerprint: int
    prior: Float[Tensor, " tokens"] | None


@dataclass(frozen=True)
class EncodedImages:
    """A batch's images as `get_image_features` took and gave them, and what priors need of them.

    `recorder` is None where no plan asks for the encoder's map.
    """

    vlm: VisionLanguageModel
    inputs: dict[str, Any]
    features: ModelOutput
    recorder: Recorder | None

    def under(self, plan: SharedAttentionPrior) -> list[SeenImage]:
        """The images with their priors under `plan`."""
        counts = [len(image) for image in self.features.pooler_output]
        priors = self._priors(plan, counts)
        return [SeenImage(*image) for image in zip(counts, self._prints, priors, strict=True)]

    @cached_property
    def _prints(self) -> list[int]:
        tiles = image_tiles(self.vlm, self.inputs)
        return [zlib.crc32(each.cpu().numpy().tobytes()) for each in tiles]

    @cached_property
    def _complexity(self) -> list[Float[Tensor, " tokens"]]:
        return token_patches(self.vlm, self.inputs, patch_complexity)

    def _priors(
        self, plan: SharedAttentionPrior, counts: Sequence[int]
    ) -> Sequence[Float[Tensor, " tokens"] | None]:
        if plan.mode == "noise":
            return [None] * len(counts)
        if plan.mode == "uniform":
            return [uniform_prior(count).to(self.vlm.device) for count in counts]
        if plan.mode == "complexity":
            return [complexity_prior(image, variant=plan.variant) for image in self._complexity]
        pooling = "max" if plan.variant == "released" else "mean"
        received = self.recorder.in_decoder_order(self.vlm, self.inputs, pooling=pooling)
        return [encoder_prior(image, variant=plan.variant) for image in received]


class Encoder:
    """The model's `get_image_features`, and what priors need of the images that it encodes.

    With `records` the encoder's map is recorded too.
    """

    def __init__(self, vlm: VisionLanguageModel, *, records: bool) -> None:
        self.vlm, self.records = vlm, records
        self.encode = vlm.model.model.get_image_features
        self.parameters = signature(self.encode)

    def images(self, *args, **kwargs) -> EncodedImages:
        """The images that `get_image_features` encodes with these arguments."""
        with recorded_attention(self.vlm) if self.records else nullcontext() as recorder:
            features = self.encode(*args, **kwargs)
        return EncodedImages(self.vlm, self.named(args, kwargs), features, recorder)

    def named(self, args: tuple, kwargs: dict[str, Any]) -> dict[str, Any]:
        given = self.parameters.bind(*args, **kwargs).arguments
        return {name: value for name, value in given.items() if value is not None}


@contextmanager
def encoding_through(
    encoder: Encoder, see: Callable[[EncodedImages], None] = lambda images: None
) -> Iterator[None]:
    """Within the block the model encodes images through `encoder`, and `see` sees them."""
    inner = encoder.vlm.model.model
    before = inner.__dict__.get("get_image_features")

    @wraps(encoder.encode)
    def encode(*args, **kwargs):
        images = encoder.images(*args, **kwargs)
        see(images)
        return images.features

    inner.get_image_features = encode
    try:
        yield
    finally:
        del inner.get_image_features
        if before is not None:
            inner.get_image_features = before
