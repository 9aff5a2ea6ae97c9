"""The graph over visual tokens in every layer, with the strong attention weights as edges.

An edge j -> i says that visual token i attends to visual token j with a weight of at least tau
(Appendix E).  Tokens are numbered from 0 among the visual tokens, in the decoder's order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lost_in_attention.benchmarks import Sample
from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.models.decoder_attention import (
    LayerAttention,
    LayerVisitor,
    reading_attention,
)
from lost_in_attention.residual.measure import check_request, prepared
from lost_in_attention.runs.batches import batches
from lost_in_attention.trace.rollout import rollout_step

THRESHOLD = 0.1
_ORDER = ["sample", "layer", "head", "target", "source"]
Weights = Literal["mean", "heads", "rollout"]


@dataclass(frozen=True)
class Trace:
    """Interaction graphs of samples.

    `edges` has one row an edge: sample, layer, source, target, weight, and head (0 except for
    graphs of single heads).  `visual_tokens` has the number of vertices of each sample, isolated
    ones included; `layers` and `heads` count the graphs of a sample, empty ones included.
    """

    edges: pd.DataFrame
    visual_tokens: Mapping[str, int]
    layers: int
    heads: int
    threshold: float

    def at(self, threshold: float) -> "Trace":
        """The same graphs under a higher threshold.  Raises ValueError if it is lower."""
        if not self.threshold <= threshold <= 1:
            raise ValueError(f"threshold: expected {self.threshold} to 1, got {threshold!r}")
        kept = self.edges[self.edges["weight"] >= np.float32(threshold)]
        return replace(self, edges=kept.reset_index(drop=True), threshold=threshold)


def trace(
    vlm: VisionLanguageModel,
    samples: Sequence[Sample],
    *,
    threshold: float = THRESHOLD,
    weights: Weights = "mean",
    batch_size: int = 8,
) -> Trace:
    """The interaction graph of every sample and layer, from one forward pass over the prompt.

    `weights` decides what is compared with `threshold`: the mean over heads (the paper's), the
    weights of single heads, one graph each, or attention rollout up to the layer.

    Raises, before the model runs, ValueError: no samples, two of one id, bad numbers, unknown
    weights, or a model under an intervention.  Raises ValueError, which names the sample and the
    layer, where the attention or the last token's logits are not finite.
    """
    _check(samples, threshold, weights, batch_size)
    parts = [
        trace_batch(vlm, batch, threshold=threshold, weights=weights)
        for batch in batches(samples, batch_size, f"trace {vlm.name}")
    ]
    edges = pd.concat([part.edges for part in parts]).sort_values(_ORDER, ignore_index=True)
    visual_tokens = {name: n for part in parts for name, n in part.visual_tokens.items()}
    return replace(parts[0], edges=edges, visual_tokens=visual_tokens)


def trace_batch(
    vlm: VisionLanguageModel,
    batch: Sequence[Sample],
    *,
    threshold: float,
    weights: Weights = "mean",
) -> Trace:
    """`trace` of one batch, in one pass.

    Raises ValueError where the attention or the last token's logits are not finite.
    """
    inputs, visual = prepared(vlm, batch, "visual")
    not_padding = inputs["attention_mask"].bool()
    ids, kept = [sample.id for sample in batch], _Edges(threshold)
    visit = _visitor(weights, kept, ids, not_padding, visual)
    # Rollout passes through tokens that are not visual, where those lie between images.
    with (
        torch.inference_mode(),
        reading_attention(vlm, not_padding if weights == "rollout" else visual, visit),
    ):
        logits = vlm.model(**inputs, use_cache=False, logits_to_keep=1).logits
    # What breaks in the last layer shows in no attention.
    for sample, scores in zip(ids, logits, strict=True):
        _check_finite(scores, "logits", sample, "after the last layer")
    visual_tokens = dict(zip(ids, visual.sum(1).tolist(), strict=True))
    heads = vlm.decoder.config.num_attention_heads if weights == "heads" else 1
    return Trace(kept.table(), visual_tokens, len(vlm.layers), heads, threshold)


def interaction_edges(
    weights: Float[Tensor, "visual visual"], threshold: float = THRESHOLD
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Source j, target i and weight of every entry (i, j) of at least `threshold`.

    Raises ValueError unless 0 < threshold <= 1.
    """
    check_threshold(threshold)
    weights = weights.float()
    target, source = (weights >= threshold).nonzero(as_tuple=True)
    return tuple(x.cpu().numpy() for x in (source, target, weights[target, source]))


def check_threshold(threshold: float) -> None:
    """Raise ValueError unless it is a weight that attention can have, and not 0."""
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold: expected more than 0 and at most 1, got {threshold!r}")


class _Edges:
    """Edges of many graphs, gathered."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._graphs: list[tuple[str, int, int]] = []
        self._parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def add(self, sample: str, layer: int, head: int, weights: Tensor) -> None:
        _check_finite(weights, "attention weights", sample, f"in layer {layer}")
        self._graphs.append((sample, layer, head))
        self._parts.append(interaction_edges(weights, self._threshold))

    def table(self) -> pd.DataFrame:
        source, target, weight = (np.concatenate(x) for x in zip(*self._parts, strict=True))
        counts = [len(part[0]) for part in self._parts]
        sample, layer, head = (
            np.repeat(np.array(x), counts) for x in zip(*self._graphs, strict=True)
        )
        table = pd.DataFrame({
            "sample": sample, "layer": layer, "head": head,
            "source": source, "target": target, "weight": weight,
        })  # fmt: skip
        return table.sort_values(_ORDER, ignore_index=True)


def _visitor(
    weights: Weights,
    kept: _Edges,
    ids: list[str],
    not_padding: Bool[Tensor, "batch tokens"],
    visual: Bool[Tensor, "batch tokens"],
) -> LayerVisitor:
    """What gathers the edges of one batch."""
    if weights == "rollout":
        return _Rollout(kept, ids, not_padding, visual)

    def visit(seen: LayerAttention) -> None:
        for head, among in enumerate(seen.heads() if weights == "heads" else [seen.mean()]):
            kept.add(ids[seen.sample], seen.layer, head, among)

    return visit


@dataclass
class _Rollout:
    """Follows the samples of a batch through the layers."""

    edges: _Edges
    ids: list[str]
    not_padding: Bool[Tensor, "batch tokens"]
    visual: Bool[Tensor, "batch tokens"]
    state: dict[int, Tensor] = field(default_factory=dict)

    def __call__(self, seen: LayerAttention) -> None:
        rolled = rollout_step(seen.mean(), self.state.get(seen.sample))
        self.state[seen.sample] = rolled
        among = self.visual[seen.sample][self.not_padding[seen.sample]]
        self.edges.add(self.ids[seen.sample], seen.layer, 0, rolled[among][:, among])


def _check_finite(values: Tensor, what: str, sample: str, where: str) -> None:
    strange = int((~values.isfinite()).sum())
    if strange:
        raise ValueError(
            f"vlm: expected finite {what}, got {strange} others for sample {sample!r} {where}"
        )


def _check(samples: Sequence[Sample], threshold: float, weights: Weights, batch_size: int) -> None:
    check_request(samples, batch_size, "visual")
    check_threshold(threshold)
    if weights not in get_args(Weights):
        raise ValueError(f"weights: expected one of {get_args(Weights)}, got {weights!r}")
    ids = [sample.id for sample in samples]
    if len(set(ids)) < len(ids):
        twice = next(i for i in ids if ids.count(i) > 1)
        raise ValueError(f"samples: expected different ids, got {twice!r} twice")
