"""Rows of attention whose visual scores are a prior: the mathematics, on plain tensors.

`replaced_rows` writes the scores out; any prior, any blend.  `merged_rows` needs scores that are
the prior alone, the same for every query.  Then the visual part of row t is

    sum_j<=t exp(p_j) v_j   and   sum_j<=t exp(p_j)        (j visual)

two prefix sums that no query enters; only text keys meet the queries, and log-sum-exp joins the
two parts.  Rows are taken in chunks, so memory grows linearly with the sequence.  Rows behind the
prompt see one mean and one sum for all visual keys: `Collapsed`.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

CHUNK = 512
_TINY = torch.finfo(torch.float32).tiny

Query = Float[Tensor, "batch heads rows features"]
HeadIndex = Int[Tensor, "batch heads"]


def replaced_rows(
    query: Query,
    key: Float[Tensor, "batch heads keys features"],
    value: Float[Tensor, "batch heads keys features"],
    *,
    prior: Float[Tensor, "batch #rows keys"],
    visual: Bool[Tensor, "batch keys"],
    not_padding: Bool[Tensor, "batch keys"],
    first: int,
    blend: float,
    scaling: float,
) -> Query:
    """softmax((1 - b) s + b p on visual keys, s elsewhere) V, causal, with row 0 at `first`."""
    chunks = []
    for start in range(0, query.shape[2], CHUNK):
        rows = slice(start, start + CHUNK)
        scores = (query[:, :, rows] @ key.transpose(-1, -2)).float() * scaling
        own_prior = prior[:, rows] if prior.shape[1] > 1 else prior
        mixed = (1 - blend) * scores + blend * own_prior[:, None]
        scores = torch.where(visual[:, None, None], mixed, scores)
        position = torch.arange(scores.shape[2], device=query.device) + first + start
        hidden = torch.arange(key.shape[2], device=query.device) > position[:, None]
        scores = scores.masked_fill(
            hidden | ~not_padding[:, None, None], torch.finfo(torch.float32).min
        )
        chunks.append(scores.softmax(-1).to(value.dtype) @ value)
    return torch.cat(chunks, 2)


@dataclass(frozen=True)
class VisualPart:
    """Numerator and denominator of the visual part, up to every key or the same for all rows.

    Weights are exp(p - peak), so that the largest of a sample is 1.
    """

    numerator: Float[Tensor, "batch kv_heads #keys features"]
    denominator: Float[Tensor, "batch #keys"]
    peak: Float[Tensor, " batch"]

    def up_to(self, keys: slice) -> "VisualPart":
        """The part of the rows that stand at the positions `keys`."""
        if self.denominator.shape[1] == 1:
            return self
        return VisualPart(self.numerator[:, :, keys], self.denominator[:, keys], self.peak)


def visual_part(
    value: Float[Tensor, "batch kv_heads keys features"],
    prior: Float[Tensor, "batch keys"],
    visual: Bool[Tensor, "batch keys"],
    *,
    by_row: bool,
) -> VisualPart:
    """Prefix sums over the keys, or with `by_row` False only the sums over all of them.

    A sample's prior may span no more than about 80, the range of exp in float32; the priors of
    this project span a few units.
    """
    scores = prior.masked_fill(~visual, -torch.inf)
    peak = scores.amax(1).nan_to_num(neginf=0.0)
    weights = (scores - peak[:, None]).exp()
    if by_row:
        weighted = weights[:, None, :, None] * value.float()
        return VisualPart(weighted.cumsum(2), weights.cumsum(1), peak)
    total = torch.einsum("bk,bhkd->bhd", weights, value.float())[:, :, None]
    return VisualPart(total, weights.sum(1, keepdim=True), peak)


@dataclass(frozen=True)
class TextKeys:
    """Where each sample's text keys lie, in order; shorter lists are filled up and masked."""

    position: Int[Tensor, "batch text"]
    not_padding: Bool[Tensor, "batch text"]

    @classmethod
    def of(cls, text: Bool[Tensor, "batch keys"]) -> "TextKeys":
        """The text keys of each sample, of a mask over all keys."""
        most = int(text.sum(1).max())
        position = (~text).to(torch.int8).argsort(dim=1, stable=True)[:, :most]
        return cls(position, text.gather(1, position))

    def take(
        self, states: Float[Tensor, "batch kv_heads keys features"]
    ) -> Float[Tensor, "batch kv_heads text features"]:
        """The text keys' entries of keys or values."""
        index = self.position[:, None, :, None].expand(-1, states.shape[1], -1, states.shape[3])
        return states.gather(2, index)

    def before(self, end: int) -> int:
        """How many leading entries hold all keys that lie before `end`."""
        return int((self.not_padding & (self.position < end)).sum(1).max())


@dataclass(frozen=True)
class Collapsed:
    """What a token behind the prompt sees of it: the text keys and one for all visual keys.

    That one comes first.  Its key is zero, its value the visual keys' weighted mean, and
    log sum exp(p) is added to its score.
    """

    key: Float[Tensor, "batch kv_heads one_and_text features"]
    value: Float[Tensor, "batch kv_heads one_and_text features"]
    added: Float[Tensor, "batch 1 1 one_and_text"]

    @classmethod
    def of(
        cls,
        key: Float[Tensor, "batch kv_heads text features"],
        value: Float[Tensor, "batch kv_heads text features"],
        text: TextKeys,
        visual: VisualPart,
    ) -> "Collapsed":
        """The text keys and their values, with the visual part in front as one key."""
        total = visual.denominator[:, -1:]
        mean = visual.numerator[:, :, -1:] / total.clamp(min=_TINY)[:, :, None, None]
        hidden = torch.zeros(text.not_padding.shape, device=total.device)
        hidden = hidden.masked_fill_(~text.not_padding, -torch.inf)
        added = torch.cat([total.log() + visual.peak[:, None], hidden], 1)[:, None, None]
        return cls(
            torch.cat([key.new_zeros(mean.shape), key], 2),
            torch.cat([mean.to(value.dtype), value], 2),
            added,
        )

    def attend(
        self,
        query: Float[Tensor, "batch heads 1 features"],
        key: Float[Tensor, "batch kv_heads further features"],
        value: Float[Tensor, "batch kv_heads further features"],
        *,
        not_padding: Bool[Tensor, "batch further"],
        scaling: float,
    ) -> Float[Tensor, "batch heads 1 features"]:
        """The last row; what is given of keys is of those behind the prompt, its own the last.

        Heads of one key-value head are rows of one product, so no key is copied.
        """
        grouped = query[:, :, 0].unflatten(1, (key.shape[1], -1))
        further = torch.zeros(not_padding.shape, device=not_padding.device)
        further = further.masked_fill_(~not_padding, -torch.inf)
        added = torch.cat([self.added, further[:, None, None]], 3)
        scores = torch.cat([grouped @ self.key.mT, grouped @ key.mT], 3).float()
        weights = torch.add(added, scores, alpha=scaling).softmax(3).to(value.dtype)
        prompt, behind = weights.split([self.key.shape[2], key.shape[2]], 3)
        return (prompt @ self.value + behind @ value).flatten(1, 2)[:, :, None]


def merged_rows(
    query: Query,
    key: Float[Tensor, "batch kv_heads text features"],
    value: Float[Tensor, "batch kv_heads text features"],
    text: TextKeys,
    visual: VisualPart,
    *,
    kv_heads: HeadIndex,
    first: int,
    scaling: float,
) -> Query:
    """The same as `replaced_rows` with blend 1; `kv_heads` names each head's key-value head."""
    key, value = take_heads(key, kv_heads), take_heads(value, kv_heads)
    chunks = []
    for start in range(0, query.shape[2], CHUNK):
        rows = slice(start, min(start + CHUNK, query.shape[2]))
        seen = text.before(first + rows.stop)
        position = torch.arange(rows.start, rows.stop, device=query.device) + first
        hidden = text.position[:, None, :seen] > position[:, None]
        hidden = hidden | ~text.not_padding[:, None, :seen]
        scores = (query[:, :, rows] @ key[:, :, :seen].transpose(-1, -2)).float() * scaling
        scores = scores.masked_fill_(hidden[:, None], -torch.inf)
        part = visual.up_to(slice(first + rows.start, first + rows.stop))
        chunks.append(_joined(scores, value[:, :, :seen], part, kv_heads).to(query.dtype))
    return torch.cat(chunks, 2)


def _joined(
    scores: Float[Tensor, "batch heads rows text"],
    value: Float[Tensor, "batch heads text features"],
    visual: VisualPart,
    kv_heads: HeadIndex,
) -> Query:
    """Text and visual part on one scale; rows that see no key at all are zero."""
    visual_peak = visual.peak[:, None].where(visual.denominator > 0, -torch.inf)[:, None, :, None]
    text_peak = scores.new_full((*scores.shape[:3], 1), -torch.inf)
    if scores.shape[3]:
        text_peak = scores.amax(3, keepdim=True)
    peak = torch.maximum(text_peak, visual_peak).nan_to_num(neginf=0.0)
    weights = scores.sub_(peak).exp_()
    share = (visual_peak - peak).exp()
    above = (weights.to(value.dtype) @ value).float()
    above = above + share * take_heads(visual.numerator, kv_heads)
    below = weights.sum(3, keepdim=True) + share * visual.denominator[:, None, :, None]
    return above / below.clamp(min=_TINY)


def take_heads(
    states: Float[Tensor, "batch all_heads rows features"], heads: HeadIndex
) -> Float[Tensor, "batch heads rows features"]:
    """Each sample's own choice of heads, in its order."""
    index = heads[:, :, None, None].expand(-1, -1, *states.shape[2:])
    return states.gather(1, index)
