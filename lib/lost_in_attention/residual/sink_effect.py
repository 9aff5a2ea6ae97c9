"""What sinks do to everything that is measured of a residual stream, in two passes a batch.

The first pass finds the tokens with massive activations and says of every state who carries the
largest.  The second measures every update on three choices of rows: all, without the sinks, and
without as many others, the control; and reads how much attention goes to the sinks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import pandas as pd
import torch
from jaxtyping import Bool
from torch import Tensor

from lost_in_attention.benchmarks import Sample
from lost_in_attention.metrics.rid import NUMERICAL_RANK
from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.models.decoder_attention import LayerAttention, reading_attention
from lost_in_attention.residual.carriers import carrier
from lost_in_attention.residual.controls import Control, Resized, check_seed
from lost_in_attention.residual.measure import check_request, prepared
from lost_in_attention.residual.metrics import ChosenMetrics, chosen_metrics
from lost_in_attention.residual.sink_attention import attention_shares
from lost_in_attention.residual.sinks import LARGE, as_many_others, massive_activations
from lost_in_attention.residual.stream import State, record
from lost_in_attention.residual.tracker import Tracker
from lost_in_attention.runs.batches import batches

ALL, KEPT, CONTROL = "all", "without sinks", "without others"
RESIZED = "resized"
# Half-way between the sizes of the two modules' updates in SmolLM2 without its sink.
SIZE = 0.25
METRICS = (
    "rid", "spectrum_change", "support_innovation", "size", "token_novelty", "feature_novelty",
    "mixig", "effective_rank",
)  # fmt: skip
Mask = Bool[Tensor, " tokens"]
Masks = Bool[Tensor, "batch tokens"]


@dataclass(frozen=True)
class SinkTables:
    """What was measured; every table names sample, image_source and layer.

    `updates` has the columns of `measure`, and rows: "all", "without sinks" or "without others".
    A sample without sinks has "all" alone.  update is "own" or, except without others, "resized".
    `carriers` has one row a state: module ("input" too), tokens, token (the carrier's text), and
    what `carrier` gives.  `attention` has one row a head: group (the key-value head that it
    shares), and of `attention_shares` sinks, first (the first token) and visual; and by itself
    large, the tokens with an activation of `LARGE` times the median in some state.
    """

    updates: pd.DataFrame
    carriers: pd.DataFrame
    attention: pd.DataFrame


def measure_sinks(
    vlm: VisionLanguageModel,
    samples: Sequence[Sample],
    *,
    batch_size: int = 4,
    size: float = SIZE,
    seed: int = 0,
) -> SinkTables:
    """The three tables; `size` is that of resized updates, `seed` draws the others.

    Raises ValueError on bad arguments before the model runs, and what `measure` raises where it
    runs.
    """
    check_request(samples, batch_size, "all")
    check_seed(seed)
    resized = {RESIZED: Resized(size)}
    kept = [
        _Batch(vlm, batch, *prepared(vlm, batch, "all")).rows(resized, seed)
        for batch in batches(samples, batch_size, f"sinks of {vlm.name}")
    ]
    tables = (_compact(pd.concat(map(pd.DataFrame, each))) for each in zip(*kept, strict=True))
    return SinkTables(*tables)


@dataclass(frozen=True)
class _Batch:
    """One batch on its way through both passes."""

    vlm: VisionLanguageModel
    samples: Sequence[Sample]
    inputs: Mapping[str, Any]
    not_padding: Masks

    @cached_property
    def visual(self) -> Masks:
        return self.vlm.visual_mask(self.inputs)

    def rows(self, resized: Mapping[str, Control], seed: int) -> tuple[list[dict], ...]:
        """The rows of the three tables, in the order of `SinkTables`."""
        sinks, large, carriers = self.find()
        others = as_many_others(sinks, self.not_padding, seed=seed)
        updates, attention = self.updates(sinks, others, large, resized)
        return updates, carriers, attention

    def find(self) -> tuple[Masks, Masks, list[dict]]:
        """The first pass: sinks, tokens with large activations, and the states' carriers."""
        (sinks, large), carriers = (torch.zeros_like(self.not_padding) for _ in range(2)), []

        def visit(state: State) -> None:
            sinks.logical_or_(massive_activations(state.hidden, self.not_padding))
            large.logical_or_(massive_activations(state.hidden, self.not_padding, LARGE))
            for index, hidden in enumerate(state.hidden):
                carriers.append(self._carried(state, index, hidden[self.not_padding[index]]))

        record(self.vlm, self.inputs, visit)
        return sinks, large, carriers

    def _carried(self, state: State, index: int, hidden: Tensor) -> dict:
        own = self.not_padding[index]
        told = carrier(hidden, self.visual[index][own])
        token = int(self.inputs["input_ids"][index][own][told["position"]])
        text = self.vlm.processor.tokenizer.decode([token])
        place = {"layer": state.layer, "module": state.module, "tokens": len(hidden), "token": text}
        return self._origin(index) | place | told

    def updates(
        self,
        sinks: Masks,
        others: Masks,
        large: Masks,
        resized: Mapping[str, Control],
    ) -> tuple[list[dict], list[dict]]:
        """The second pass: the rows of all updates, and those of attention."""
        metrics, attention = chosen_metrics(METRICS), []
        trackers = [
            (index, rows, _tracker(self.samples[index], mask, metrics, controls))
            for index, own in enumerate(self.not_padding)
            for rows, mask, controls in _choices(own, sinks[index], others[index], resized)
        ]

        def visit(state: State) -> None:
            for index, _, tracker in trackers:
                tracker.visit(state, state.hidden[index])

        read = partial(self._read, sinks, large, attention)
        with reading_attention(self.vlm, self.not_padding, read):
            record(self.vlm, self.inputs, visit)
        updates = [{"rows": name} | row for _, name, tracker in trackers for row in tracker.rows]
        return updates, attention

    def _read(self, sinks: Masks, large: Masks, rows: list[dict], seen: LayerAttention) -> None:
        own = self.not_padding[seen.sample]
        keys = {"sinks": sinks[seen.sample][own], "visual": self.visual[seen.sample][own]}
        keys["first"] = torch.arange(len(keys["sinks"]), device=own.device) == 0
        far, shared = {"large": large[seen.sample][own]}, len(seen.query) // len(seen.key)
        for head, weights in enumerate(seen.heads()):
            place = {"layer": seen.layer, "head": head, "group": head // shared}
            shares = attention_shares(weights, keys) | attention_shares(weights, far)
            rows.append(self._origin(seen.sample) | place | shares)

    def _origin(self, index: int) -> dict[str, str]:
        sample = self.samples[index]
        return {"sample": sample.id, "image_source": sample.image_source}


def _choices(
    own: Mask, sinks: Mask, others: Mask, resized: Mapping[str, Control]
) -> list[tuple[str, Mask, Mapping[str, Control]]]:
    """The choices of rows of a sample: name, mask, controls."""
    if not sinks.any():
        return [(ALL, own, resized)]
    return [(ALL, own, resized), (KEPT, own & ~sinks, resized), (CONTROL, own & ~others, {})]


def _tracker(
    sample: Sample, mask: Mask, metrics: ChosenMetrics, controls: Mapping[str, Control]
) -> Tracker:
    return Tracker(sample, mask, NUMERICAL_RANK, controls, metrics)


def _compact(table: pd.DataFrame) -> pd.DataFrame:
    """Numbers in 32 bits: intervals are far wider than their rounding."""
    kinds = {"float64": "float32", "int64": "int32"}
    changed = {name: kinds[str(kind)] for name, kind in table.dtypes.items() if str(kind) in kinds}
    return table.astype(changed).reset_index(drop=True)
