"""One pass of the vision tower for all plans that are tried on a batch."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.sap.images import EncodedImages, Encoder, encoding_through
from lost_in_attention.vision import check_recordable

_ENCODER = "_encoded_once"


@contextmanager
def encoded_once(vlm: VisionLanguageModel) -> Iterator[None]:
    """Within the block a batch of images that was just encoded is not encoded again.

    Equal pixels give the stored features and whatever a prior needs of them, under any plan and
    under none.  Only the latest batch is kept.  Outputs are the same with and without the block.

    Raises ValueError as `vision.check_recordable` does, or within a block of this kind or of
    `shared_attention_prior`, whose images it would hide.
    """
    check_recordable(vlm)
    inner = vlm.model.model
    if "get_image_features" in inner.__dict__:
        raise ValueError(
            "vlm: expected a model outside any block of encoded_once or shared_attention_prior, "
            "got one inside"
        )
    encoder = _EncoderOnce(vlm, records=True)
    with encoding_through(encoder):
        setattr(inner, _ENCODER, encoder)
        try:
            yield
        finally:
            delattr(inner, _ENCODER)


def encoder_under(vlm: VisionLanguageModel, *, records: bool) -> Encoder:
    """The encoder of the `encoded_once` block around, or one that encodes each time."""
    shared = getattr(vlm.model.model, _ENCODER, None)
    return shared if shared is not None else Encoder(vlm, records=records)


class _EncoderOnce(Encoder):
    latest: EncodedImages | None = None

    def images(self, *args, **kwargs) -> EncodedImages:
        if self.latest is None or not _equal(self.latest.inputs, self.named(args, kwargs)):
            self.latest = None  # Room for the next batch.
            self.latest = super().images(*args, **kwargs)
        return self.latest


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.dtype == other.dtype and one.device == other.device and torch.equal(one, other)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_equal(one[name], other[name]) for name in one)
    return type(one) is type(other) and one == other
