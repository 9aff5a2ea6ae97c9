"""What sinks do to everything that is measured of a residual stream.

A batch goes through the model once, and its states are kept: 15 MB for a passage of 110 tokens in
SmolLM2, 0.6 GB for 1,400 tokens in a decoder of 28 layers and 3,584 features at 16 bits.  Then it
is known who carries the largest activation of every state and which tokens are sinks; every update
is measured on three choices of rows, all, without the sinks, and without as many others, the
control; and it is read how much attention goes to the sinks.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
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
from lost_in_attention.residual.metrics import chosen_metrics
from lost_in_attention.residual.sink_attention import attention_shares, share_among
from lost_in_attention.residual.sinks import LARGE, TIMES_MEDIAN, Peaks, as_many_others
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
    A sample without sinks has "all" alone.  update is "own", and "resized" where sinks are out.
    `carriers` has one row a state: module ("input" too), tokens, token (the carrier's text), and
    what `carrier` gives.  `attention` has one row a head: group (the key-value head that it
    shares), and of `attention_shares` sinks, first (the first token) and visual; and by itself
    large, the tokens with an activation of `LARGE` times the median in some state; among_visual is
    the visual tokens' `share_among` (NaN without a picture).
    """

    updates: pd.DataFrame
    carriers: pd.DataFrame
    attention: pd.DataFrame


def measure_sinks(
    vlm: VisionLanguageModel,
    samples: Sequence[Sample],
    *,
    batch_size: int = 1,
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
    """One batch: its states and its attention, and what they say of sinks."""

    vlm: VisionLanguageModel
    samples: Sequence[Sample]
    inputs: Mapping[str, Any]
    not_padding: Masks

    @cached_property
    def recorded(self) -> tuple[list[State], list[LayerAttention]]:
        """All states and all layers' attention, from one pass."""
        states: list[State] = []
        attention: list[LayerAttention] = []

        def keep(state: State) -> None:
            states.append(replace(state, hidden=state.hidden.clone()))

        with reading_attention(self.vlm, self.not_padding, attention.append):
            record(self.vlm, self.inputs, keep)
        return states, attention

    @cached_property
    def peaks(self) -> list[Peaks]:
        """Those of every state."""
        return [Peaks.of(state.hidden, self.not_padding) for state in self.recorded[0]]

    @cached_property
    def visual(self) -> Masks:
        """Where the visual tokens stand."""
        return self.vlm.visual_mask(self.inputs)

    def beyond(self, times: float) -> Masks:
        """Which tokens are beyond `times` the median in some state."""
        return torch.stack([peaks.beyond(times) for peaks in self.peaks]).any(0)

    def rows(self, resized: Mapping[str, Control], seed: int) -> tuple[list[dict], ...]:
        """The rows of the three tables, in the order of `SinkTables`."""
        sinks = self.beyond(TIMES_MEDIAN)
        others = as_many_others(sinks, self.not_padding, seed=seed)
        attention = self.attention(sinks, self.beyond(LARGE))
        return self.updates(sinks, others, resized), self.carriers(), attention

    def updates(self, sinks: Masks, others: Masks, resized: Mapping[str, Control]) -> list[dict]:
        """Every update, on the choices of rows."""
        metrics, rows = chosen_metrics(METRICS), []
        for index, own in enumerate(self.not_padding):
            for name, mask, controls in _choices(own, sinks[index], others[index], resized):
                sample = self.samples[index]
                tracker = Tracker(sample, mask, NUMERICAL_RANK, controls, metrics)
                for state in self.recorded[0]:
                    tracker.visit(state, state.hidden[index])
                rows += [{"rows": name} | row for row in tracker.rows]
        return rows

    def carriers(self) -> list[dict]:
        """Who carries the largest activation, state by state."""
        states = zip(self.recorded[0], self.peaks, strict=True)
        return [
            self._carried(state, peaks, index)
            for state, peaks in states
            for index in range(len(self.samples))
        ]

    def _carried(self, state: State, peaks: Peaks, index: int) -> dict:
        own = self.not_padding[index]
        alone = Peaks(peaks.largest[index][own][None], peaks.median[index][None])
        told = carrier(state.hidden[index][own], alone, self.visual[index][own])
        token = int(self.inputs["input_ids"][index][own][told["position"]])
        text = self.vlm.processor.tokenizer.decode([token])
        place = {"layer": state.layer, "module": state.module, "tokens": int(own.sum())}
        return self._origin(index) | place | {"token": text} | told

    def attention(self, sinks: Masks, large: Masks) -> list[dict]:
        """The shares of every head."""
        return [row for seen in self.recorded[1] for row in self._shares(sinks, large, seen)]

    def _shares(self, sinks: Masks, large: Masks, seen: LayerAttention) -> Iterator[dict]:
        own = self.not_padding[seen.sample]
        keys = {"sinks": sinks[seen.sample][own], "visual": self.visual[seen.sample][own]}
        keys["first"] = torch.arange(len(keys["sinks"]), device=own.device) == 0
        far, shared = {"large": large[seen.sample][own]}, len(seen.query) // len(seen.key)
        for head, weights in enumerate(seen.heads()):
            place = {"layer": seen.layer, "head": head, "group": head // shared}
            shares = attention_shares(weights, keys) | attention_shares(weights, far)
            shares["among_visual"] = share_among(weights, keys["visual"])
            yield self._origin(seen.sample) | place | shares

    def _origin(self, index: int) -> dict[str, str]:
        sample = self.samples[index]
        return {"sample": sample.id, "image_source": sample.image_source}


def _choices(
    own: Mask, sinks: Mask, others: Mask, resized: Mapping[str, Control]
) -> list[tuple[str, Mask, Mapping[str, Control]]]:
    """The choices of rows of a sample: name, mask, controls."""
    if not sinks.any():
        return [(ALL, own, resized)]
    return [(ALL, own, {}), (KEPT, own & ~sinks, resized), (CONTROL, own & ~others, {})]


def _compact(table: pd.DataFrame) -> pd.DataFrame:
    """Numbers in 32 bits: intervals are far wider than their rounding."""
    kinds = {"float64": "float32", "int64": "int32"}
    changed = {name: kinds[str(kind)] for name, kind in table.dtypes.items() if str(kind) in kinds}
    return table.astype(changed).reset_index(drop=True)
