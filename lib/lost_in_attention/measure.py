"""RID, its factors and MixIG of every module in every layer, as a tidy table.

The states stream out of the forward pass one after another; each is decomposed when it comes
and forgotten after the next (`updates`).
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from jaxtyping import Bool
from torch import Tensor
from tqdm import tqdm
from transformers import BatchFeature

from lost_in_attention.benchmarks import Sample
from lost_in_attention.controls import Control
from lost_in_attention.geometry import NUMERICAL_RANK, RankRule
from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.runfile import RunFile
from lost_in_attention.stream import State, record
from lost_in_attention.updates import OWN, Tracker

TOKENS = ("all", "visual", "text")


def measure(
    vlm: VisionLanguageModel,
    samples: Sequence[Sample],
    *,
    batch_size: int = 8,
    tokens: str = "all",
    rank_rule: RankRule = NUMERICAL_RANK,
    controls: Mapping[str, Control] | None = None,
    output: Path | None = None,
    resume: bool = False,
) -> pd.DataFrame:
    """One row a sample, layer, module (attention: X_in to X_attn; ffn: X_attn to X_ffn), update.

    Columns: sample, image_source, layer, module, update ("own", or the name of one of
    `controls` in its place), tokens (their number S), rid, spectrum_change,
    support_innovation, size, token_novelty, feature_novelty, mixig, and of the state after the
    update effective_rank, rank, tme.  `tokens` chooses the rows of a state: all, visual or
    text; padding never counts.  With `output` the rows go to that file batch by batch (see
    `runfile`); `resume` goes on with a run that lies there, and starts one where none does.

    Raises, before the model runs:
        ValueError: bad arguments, `resume` without `output`, or a run of other settings or
            samples in `output`.
        FileExistsError: a run lies in `output` and `resume` is False.
    and NonFiniteError naming sample, layer and module where a state holds NaN or an infinity.
    """
    if resume and output is None:
        raise ValueError("resume: expected an output to go on with, got none")
    task = _Task(vlm, samples, batch_size, tokens, rank_rule, controls or {})
    run, rows = None, []
    if output is not None:
        each = task.rows_per_sample
        run = RunFile(Path(output), task.settings(), batch_size * each, len(samples) * each)
        rows = run.begin(resume=resume)
    done = len(rows) // task.rows_per_sample
    for batch in batches(samples, batch_size, f"measure {vlm.name}", done=done):
        new = task.measure(batch)
        if run:
            run.append(new)
        rows += new
    return pd.DataFrame(rows)


def batches(
    samples: Sequence[Sample], size: int, doing: str, *, done: int = 0
) -> Iterator[list[Sample]]:
    """Batches of the samples from number `done` on, with a progress bar."""
    with tqdm(total=len(samples), initial=done, desc=doing, unit="sample") as bar:
        for start in range(done, len(samples), size):
            batch = list(samples[start : start + size])
            yield batch
            bar.update(len(batch))


def prepared(
    vlm: VisionLanguageModel, batch: Sequence[Sample], tokens: str
) -> tuple[BatchFeature, Bool[Tensor, "batch tokens"]]:
    """The model's inputs for a batch, and which of their tokens count."""
    inputs = vlm.prepare([s.images for s in batch], [s.prompt for s in batch])
    real = inputs["attention_mask"].bool()
    if tokens == "all":
        return inputs, real
    visual = vlm.visual_mask(inputs)
    return inputs, real & (visual if tokens == "visual" else ~visual)


def check_request(samples: Sequence[Sample], batch_size: int, tokens: str) -> None:
    """Raise ValueError unless there are samples, a positive batch size and known tokens."""
    if tokens not in TOKENS:
        raise ValueError(f"tokens: expected one of {TOKENS}, got {tokens!r}")
    if not samples:
        raise ValueError("samples: expected at least one, got none")
    if batch_size < 1:
        raise ValueError(f"batch_size: expected at least 1, got {batch_size}")


@dataclass(frozen=True)
class _Task:
    """What is measured of whom; refuses what cannot be measured."""

    vlm: VisionLanguageModel
    samples: Sequence[Sample]
    batch_size: int
    tokens: str
    rank_rule: RankRule
    controls: Mapping[str, Control]

    def __post_init__(self) -> None:
        check_request(self.samples, self.batch_size, self.tokens)
        if OWN in self.controls:
            raise ValueError(f"controls: expected names other than {OWN!r}, the update itself")

    @property
    def rows_per_sample(self) -> int:
        return 2 * len(self.vlm.layers) * (1 + len(self.controls))

    def settings(self) -> dict:
        """What decides the rows, for the run's file."""
        return {
            "model": self.vlm.name,
            "dtype": str(self.vlm.model.dtype),
            "samples": len(self.samples),
            "questions": _digest(self.samples),
            "batch_size": self.batch_size,
            "tokens": self.tokens,
            "rank_rule": repr(self.rank_rule),
            "controls": {name: repr(control) for name, control in self.controls.items()},
        }

    def measure(self, batch: Sequence[Sample]) -> list[dict]:
        """The rows of a batch, sample by sample."""
        inputs, chosen = prepared(self.vlm, batch, self.tokens)
        trackers = [
            Tracker(sample, mask, self.rank_rule, self.controls)
            for sample, mask in zip(batch, chosen, strict=True)
        ]

        def visit(state: State) -> None:
            for tracker, hidden in zip(trackers, state.hidden, strict=True):
                tracker.visit(state, hidden)

        record(self.vlm, inputs, visit)
        return [row for tracker in trackers for row in tracker.rows]


def _digest(samples: Sequence[Sample]) -> str:
    """A hash of all questions and pixels, in order."""
    content = hashlib.sha256()
    for sample in samples:
        content.update(repr((sample.id, sample.prompt)).encode())
        for image in sample.images:
            content.update(image.tobytes())
    return content.hexdigest()[:16]
