"""RID, its factors and MixIG of every module in every layer, as a tidy table.

The states stream out of the forward pass one after another; each is decomposed when it comes
and forgotten after the next (`tracker`).  One process or several give the same table (`batches`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import pandas as pd
from jaxtyping import Bool
from torch import Tensor
from transformers import BatchFeature

from lost_in_attention.benchmarks import Sample
from lost_in_attention.metrics.rid import NUMERICAL_RANK, RankRule
from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.models.changed import check_named
from lost_in_attention.models.settings import settings_of
from lost_in_attention.residual.controls import Control
from lost_in_attention.residual.metrics import METRICS, Metric, Metrics, chosen_metrics, identity
from lost_in_attention.residual.sinks import sink_tokens
from lost_in_attention.residual.stream import State, record
from lost_in_attention.residual.tracker import OWN, Tracker
from lost_in_attention.runs.batches import check_batches, in_batches

Tokens = Literal["all", "visual", "text", "without sinks"]


def measure(
    vlm: VisionLanguageModel,
    samples: Sequence[Sample],
    *,
    batch_size: int = 8,
    tokens: Tokens = "all",
    rank_rule: RankRule = NUMERICAL_RANK,
    controls: Mapping[str, Control] | None = None,
    metrics: Metrics = METRICS,
    output: Path | None = None,
    resume: bool = False,
) -> pd.DataFrame:
    """One row a sample, layer, module (attention: X_in to X_attn; ffn: X_attn to X_ffn), update.

    Columns: sample, image_source, layer, module, update ("own", or the name of one of
    `controls` in its place), tokens (their number S), features (H), and those of `metrics`: all of
    `METRICS`, which are rid, spectrum_change, support_innovation, size, token_novelty,
    feature_novelty, mixig, and of the state after the update effective_rank, rank, tme; or
    ("rid", "mixig"), some of them by name; or METRICS | {"growth": growth}, a function of yours
    beside them (see `metrics`).  `tokens` chooses the rows of a state: all, visual, text, or all
    without `sink_tokens`; padding never counts.  With `output` the rows go to that file batch by
    batch (see `run_file`); `resume` goes on with a run that lies there, and starts one where none
    does.

    Raises, before the model runs:
        ValueError: bad arguments, `resume` without `output`, an `output` that cannot be written,
            or one with a damaged run or one of other settings or samples.
        FileExistsError: a run lies in `output` and `resume` is False.
        BlockingIOError: another process is at work on `output`.
    and where it runs, naming the sample:
        NonFiniteError: a state of some layer and module holds NaN or an infinity.
        ValueError: it has no such tokens, a state or an update is zero everywhere, or a metric of
            yours gives no finite number.
    """
    task = _Task(
        vlm, samples, batch_size, tokens, rank_rule, controls or {}, chosen_metrics(metrics)
    )
    rows = in_batches(
        task.measure,
        samples,
        batch_size=batch_size,
        settings=task.settings,
        device=vlm.device,
        label=f"measure {vlm.name}",
        rows_each=task.rows_per_sample,
        output=output,
        resume=resume,
    )
    return pd.DataFrame(rows)


def measure_batch(
    vlm: VisionLanguageModel,
    batch: Sequence[Sample],
    *,
    tokens: Tokens = "all",
    rank_rule: RankRule = NUMERICAL_RANK,
    controls: Mapping[str, Control] | None = None,
    metrics: Metrics = METRICS,
) -> list[dict]:
    """The rows of `measure` for samples that go through the model together, for `in_batches`.

    Raises what `measure` does on bad arguments and where it runs.
    """
    chosen = chosen_metrics(metrics)
    task = _Task(vlm, batch, len(batch), tokens, rank_rule, controls or {}, chosen)
    return task.measure(0, list(batch))


def prepared(
    vlm: VisionLanguageModel, batch: Sequence[Sample], tokens: Tokens
) -> tuple[BatchFeature, Bool[Tensor, "batch tokens"]]:
    """The model's inputs for a batch, and which of their tokens count.

    Raises ValueError that names the sample if none of its tokens does, and if the model is changed
    and `vlm` does not name it so (`check_named`).
    """
    check_named(vlm)
    inputs = vlm.prepare([s.images for s in batch], [s.prompt for s in batch])
    chosen = inputs["attention_mask"].bool()
    if tokens == "without sinks":
        chosen = chosen & ~sink_tokens(vlm, inputs)
    elif tokens != "all":
        visual = vlm.visual_mask(inputs)
        chosen = chosen & (visual if tokens == "visual" else ~visual)
    for sample, mask in zip(batch, chosen, strict=True):
        if not mask.any():
            raise ValueError(f"tokens: expected some {tokens!r} in {sample.id}, got none")
    return inputs, chosen


def check_request(samples: Sequence[Sample], batch_size: int, tokens: Tokens) -> None:
    """Raise ValueError unless there are samples, a positive batch size and known tokens."""
    if tokens not in get_args(Tokens):
        raise ValueError(f"tokens: expected one of {get_args(Tokens)}, got {tokens!r}")
    check_batches(samples, batch_size)


@dataclass(frozen=True)
class _Task:
    """What is measured of whom; refuses what cannot be measured."""

    vlm: VisionLanguageModel
    samples: Sequence[Sample]
    batch_size: int
    tokens: Tokens
    rank_rule: RankRule
    controls: Mapping[str, Control]
    metrics: Mapping[str, Metric]

    def __post_init__(self) -> None:
        check_request(self.samples, self.batch_size, self.tokens)
        if OWN in self.controls:
            raise ValueError(f"controls: expected names other than {OWN!r}, the update itself")

    @property
    def rows_per_sample(self) -> int:
        return 2 * len(self.vlm.layers) * (1 + len(self.controls))

    def settings(self) -> dict:
        """What decides the rows, for the run's file."""
        own = {
            "tokens": self.tokens,
            "rank_rule": repr(self.rank_rule),
            "controls": {name: repr(control) for name, control in self.controls.items()},
            "metrics": {name: identity(name, metric) for name, metric in self.metrics.items()},
        }
        return settings_of(self.vlm, self.samples, self.batch_size) | own

    def measure(self, _number: int, batch: list[Sample]) -> list[dict]:
        """The rows of a batch, sample by sample."""
        inputs, chosen = prepared(self.vlm, batch, self.tokens)
        trackers = [
            Tracker(sample, mask, self.rank_rule, self.controls, self.metrics)
            for sample, mask in zip(batch, chosen, strict=True)
        ]

        def visit(state: State) -> None:
            for tracker, hidden in zip(trackers, state.hidden, strict=True):
                tracker.visit(state, hidden)

        record(self.vlm, inputs, visit)
        return [row for tracker in trackers for row in tracker.rows]
