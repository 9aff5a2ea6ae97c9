"""The vision encoder's last attention map, recorded while the encoder runs.

The paper and its release both read the tower's last layer (Appendix C.3).  LLaVA-1.5 and
LLaVA-NeXT hand the decoder the output of the layer before, so there the map is not that of the
features.  It is reduced head by head to the attention that each visual token receives: a whole map
of a full-sized image takes gigabytes.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lost_in_attention.models.attention_functions import TOWER, register, running_on
from lost_in_attention.models.families import Family, Inputs
from lost_in_attention.models.vlm import VisionLanguageModel

# How the patches of one token are pooled: the paper takes the mean, the release the largest.
POOLINGS = ("mean", "max")
_NAME = "recorded_vision_attention"
register(_NAME)


class Recorder:
    """What the encoder's last map gave in the passes since the recording began."""

    def __init__(self, family: Family) -> None:
        self.family = family
        self._received: list[Float[Tensor, "poolings _ _"]] = []

    def see(
        self,
        module: nn.Module,
        query: Float[Tensor, "tiles heads patches features"],
        key: Float[Tensor, "tiles heads patches features"],
        value: Float[Tensor, "tiles heads patches features"],
        mask: Tensor | None,
        scaling: float,
    ) -> None:
        """Take in one pass; SDPA computes its output."""
        heads = [
            self._pooled((q.float() @ k.float().transpose(-1, -2) * scaling).softmax(-1))
            for q, k in zip(query.unbind(1), key.unbind(1), strict=True)
        ]
        self._received.append(torch.stack(heads).mean(0))

    def in_decoder_order(
        self, inputs: Inputs, *, pooling: str = "mean"
    ) -> list[Float[Tensor, " _"]]:
        """The attention that each visual token receives, an entry for each image of `inputs`.

        The mean over heads and queries (Appendix C.3), in float32 and the decoder's order; NaN for
        newline tokens.

        `pooling` is how the patches of one token are pooled: "mean" (the paper) or "max" (the
        release).  Raises ValueError on another one.
        """
        if pooling not in POOLINGS:
            raise ValueError(f"pooling: expected one of {list(POOLINGS)}, got {pooling!r}")
        received = [each[POOLINGS.index(pooling)] for each in self._received]
        return self.family.in_decoder_order(inputs, received)

    def _pooled(
        self, attention: Float[Tensor, "tiles queries keys"]
    ) -> Float[Tensor, "poolings tiles tokens"]:
        """Over merged patches in the order of `POOLINGS`, then the mean over queries."""
        own, merged = self.family.among_patches(attention), self.family.merge**2
        tokens = own.shape[-1] // merged
        blocks = own.reshape(len(own), tokens, merged, tokens, merged)
        return torch.stack([blocks.mean((1, 2, 4)), blocks.amax((2, 4)).mean(1)])


@contextmanager
def recorded_attention(vlm: VisionLanguageModel) -> Iterator[Recorder]:
    """Within the block the vision tower records its last map; what it computes stays the same.

    Raises ValueError as `check_recordable` does.
    """
    check_recordable(vlm)
    recorder = Recorder(vlm.family)
    with running_on(vlm.model, TOWER, _NAME, {vlm.family.last_attention: recorder.see}):
        yield recorder


def check_recordable(vlm: VisionLanguageModel) -> None:
    """Raises ValueError if the tower does not run on SDPA or its last map is not a whole one."""
    implementation = vlm.model.config.vision_config._attn_implementation
    if implementation != "sdpa":
        raise ValueError(f"vlm: expected the vision tower to run on 'sdpa', got {implementation!r}")
    if not vlm.family.last_map_is_whole:
        raise ValueError(
            "vlm: expected the vision tower's last layer to attend to the whole image, "
            "got one that attends within windows"
        )
