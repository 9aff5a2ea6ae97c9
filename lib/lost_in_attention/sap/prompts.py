"""A batch of prompts, from its first pass to the last generated token.

Whether keys come from a cache or every pass starts anew makes no difference: a pass without a
cache whose tokens continue the prompts counts as the prompts' continuation.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lost_in_attention.sap.attention_rows import TextKeys
from lost_in_attention.sap.images import SeenImage
from lost_in_attention.sap.plan import SharedAttentionPrior
from lost_in_attention.sap.registry import VisualTokens


@dataclass(frozen=True)
class DecoderPass:
    """One pass of the decoder: its rows start at position `first` of the keys.

    `prompt` is the prompts' length; rows from index `replaced` on are replaced.
    """

    first: int
    prompt: int
    replaced: int
    visual: Bool[Tensor, "batch keys"]
    not_padding: Bool[Tensor, "batch keys"]
    prior: Float[Tensor, "batch #rows keys"]
    _copies: dict[torch.device, "DecoderPass"] = field(default_factory=dict)

    def on(self, device: torch.device) -> "DecoderPass":
        """The pass with its tensors on the device of a layer, brought there once."""
        if device == self.visual.device:
            return self
        if device not in self._copies:
            own = ("visual", "not_padding", "prior")
            moved = {name: getattr(self, name).to(device) for name in own}
            self._copies[device] = replace(self, **moved)
        return self._copies[device]

    @cached_property
    def text(self) -> TextKeys:
        """The keys that are neither padding nor visual."""
        return TextKeys.of(self.not_padding & ~self.visual)

    @cached_property
    def has_rows_within_images(self) -> bool:
        """Whether a replaced row does not see all visual tokens."""
        return bool(self.visual[:, self.first + self.replaced + 1 :].any())


class Prompts:
    """The prompts' tokens, their images and where the noise of each sample stands."""

    def __init__(
        self,
        plan: SharedAttentionPrior,
        ids: Int[Tensor, "batch tokens"],
        visual: Bool[Tensor, "batch tokens"],
        images: Sequence[SeenImage],
    ) -> None:
        self.plan, self.ids, self.visual = plan, ids, visual
        self.samples = images_of_samples(visual.sum(1).tolist(), images)
        self._random: list[np.random.Generator] = []
        self._rows: Float[Tensor, "batch 1 keys"] | None = None

    @property
    def length(self) -> int:
        """Number of tokens of a prompt, padding included."""
        return self.ids.shape[1]

    def continued_by(self, ids: Int[Tensor, "batch tokens"]) -> bool:
        """Whether `ids` are these prompts with more tokens behind them."""
        known = self.length
        return (
            ids.shape[0] == self.ids.shape[0]
            and ids.shape[1] > known
            and torch.equal(ids[:, :known].to(self.ids.device), self.ids)
        )

    def passed(self, first: int, not_padding: Bool[Tensor, "batch keys"]) -> DecoderPass:
        """The pass over the keys from `first` on; 0 begins anew."""
        if first == 0:
            self._random = [
                np.random.default_rng([self.plan.seed, *(image.fingerprint for image in sample)])
                for sample in self.samples
            ]
            self._rows = None
        added = not_padding.shape[1] - self.length
        visual = torch.nn.functional.pad(self.visual, (0, added))
        begin = 0 if self.plan.queries == "all" else max(self.length - 1 - first, 0)
        prior = self._prior(visual, not_padding[:, first + begin :])
        return DecoderPass(first, self.length, begin, visual, not_padding, prior)

    def _prior(
        self, visual: Bool[Tensor, "batch keys"], rows_not_padding: Bool[Tensor, "batch rows"]
    ) -> Float[Tensor, "batch #rows keys"]:
        if self.plan.has_own_rows:
            return self._by_row(visual, rows_not_padding)
        if self._rows is None:
            self._rows = self._same_for_all_rows()
        return torch.nn.functional.pad(self._rows, (0, visual.shape[1] - self.length))

    def _same_for_all_rows(self) -> Float[Tensor, "batch 1 tokens"]:
        prior = torch.zeros(self.visual.shape, device=self.visual.device)
        scores = [
            self._scores(part, random, 1)[0]
            for sample, random in zip(self.samples, self._random, strict=True)
            for part in ([sample] if self.plan.prior.by_row else [[image] for image in sample])
            if part
        ]
        if scores:
            prior[self.visual] = torch.cat([each.to(prior) for each in scores])
        return prior[:, None]

    def _by_row(
        self, visual: Bool[Tensor, "batch keys"], rows_not_padding: Bool[Tensor, "batch rows"]
    ) -> Float[Tensor, "batch rows keys"]:
        """The next rows of each sample's endless matrix; padding takes none."""
        prior = torch.zeros((*rows_not_padding.shape, visual.shape[1]), device=visual.device)
        each = zip(prior, rows_not_padding, visual, self.samples, self._random, strict=True)
        for own, rows, columns, sample, random in each:
            if sample:
                drawn = self._scores(sample, random, int(rows.sum()))
                own[rows[:, None] & columns] = drawn.flatten().to(own)
        return prior

    def _scores(
        self, images: Sequence[SeenImage], random: np.random.Generator, rows: int
    ) -> Float[Tensor, "rows tokens"]:
        """The scores of the images' visual tokens under the plan."""
        return self.plan.prior.of(VisualTokens(images, random, rows, self.plan.version))


def images_of_samples(tokens: Sequence[int], images: Sequence[SeenImage]) -> list[list[SeenImage]]:
    """The images of each sample, given its number of visual tokens.

    Beam search repeats each prompt but encodes its images once.

    Raises ValueError if the images do not fill the prompts' visual tokens.
    """
    encoded = sum(image.tokens for image in images)
    beams = max(sum(tokens) // encoded, 1) if encoded else 1
    ends = list(accumulate((image.tokens for image in images), initial=0))
    samples, begin = [], 0
    for count in tokens[::beams]:
        if begin + count not in ends:
            raise ValueError(
                f"inputs: expected images encoded within the block that fill {sum(tokens)} "
                f"visual tokens, got images of {[image.tokens for image in images]} tokens"
            )
        samples += [list(images[ends.index(begin) : ends.index(begin + count)])] * beams
        begin += count
    return samples
