"""Measurements that several pages read: what each is, and how it is taken of any model.

A measurement gives the rows of one batch.  `take` works through samples batch by batch, in one
process or several, and on disk where that is asked for: what broke off goes on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

import pandas as pd

from lost_in_attention.benchmarks import Sample
from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.models.settings import settings_of
from lost_in_attention.residual.baselines import noise_qkv, noise_update
from lost_in_attention.residual.controls import Noise, Resized, Rotated, check_seed
from lost_in_attention.residual.measure import measure_batch
from lost_in_attention.residual.readings import readings_of_batch
from lost_in_attention.residual.rope_tolerance import tolerance_of_batch
from lost_in_attention.residual.tracker import OWN
from lost_in_attention.residual.value_average import averages_of_batch
from lost_in_attention.runs.batches import in_batches

# The paper's two, by the names that tables give them.
BASELINES = {"noise_delta": noise_update, "noise_qkv": noise_qkv}
BATCH_SIZE = 8
_OF_UPDATE = (
    "rid", "spectrum_change", "support_innovation", "size", "token_novelty", "feature_novelty",
    "mixig",
)  # fmt: skip


@runtime_checkable
class Measurement(Protocol):
    """What is measured of a model.  Its repr tells its settings: use a frozen dataclass.

    `name` is what its file is called, `questions` how many suffice for it.
    """

    name: ClassVar[str]
    questions: ClassVar[int]

    def rows(self, vlm: VisionLanguageModel, batch: Sequence[Sample], seed: int) -> list[dict]:
        """The rows of samples that go through the model together; each names its "sample"."""
        ...


@dataclass(frozen=True)
class Updates:
    """Every update of the model as `measure` has it, and beside it three others (column update).

    "own" is the model's; "resized" and "rotated" have `size` (`controls.Resized`, `Rotated`);
    "noise" stands in attention's place in one layer at a time (`controls.Noise`).
    """

    name: ClassVar[str] = "updates"
    questions: ClassVar[int] = 150
    size: float = 0.3

    def rows(self, vlm: VisionLanguageModel, batch: Sequence[Sample], seed: int) -> list[dict]:
        """See `measure`; of the state after an update only rank and tme."""
        controls = {
            "noise": Noise(seed),
            "resized": Resized(self.size),
            "rotated": Rotated(self.size, seed),
        }
        metrics = (*_OF_UPDATE, "rank", "tme")
        rows = measure_batch(vlm, batch, controls=controls, metrics=metrics)
        return [row for row in rows if (row["update"], row["module"]) != ("noise", "ffn")]


@dataclass(frozen=True)
class Baselines:
    """Attention's updates under both noise baselines (Section 4.2), in several draws of noise.

    Column module has the baseline ("noise_delta", "noise_qkv"), column draw counts from 0.
    """

    name: ClassVar[str] = "baselines"
    questions: ClassVar[int] = 40
    draws: int = 2

    def rows(self, vlm: VisionLanguageModel, batch: Sequence[Sample], seed: int) -> list[dict]:
        """See `measure`; draw number d has the seed `seed` + d."""
        rows: list[dict] = []
        for draw in range(self.draws):
            for module, baseline in BASELINES.items():
                with baseline(vlm, seed=seed + draw) as noisy:
                    found = measure_batch(noisy, batch, metrics=_OF_UPDATE)
                rows += _attention_as(module, found, draw=draw)
        return rows


@dataclass(frozen=True)
class Averaging:
    """Attention's outputs against its values (`value_average`), column weights: learned, noise."""

    name: ClassVar[str] = "averaging"
    questions: ClassVar[int] = 40

    def rows(self, vlm: VisionLanguageModel, batch: Sequence[Sample], seed: int) -> list[dict]:
        """See `output_against_values`; "noise" is `noise_qkv`."""
        learned = [row | {"weights": "learned"} for row in averages_of_batch(vlm, batch)]
        with noise_qkv(vlm, seed=seed) as noisy:
            noise = [row | {"weights": "noise"} for row in averages_of_batch(noisy, batch)]
        return learned + noise


@dataclass(frozen=True)
class Tolerance:
    """RID between the inputs of every layer with and without rotary embedding (Section 3.3.1)."""

    name: ClassVar[str] = "tolerance"
    questions: ClassVar[int] = 60

    def rows(self, vlm: VisionLanguageModel, batch: Sequence[Sample], seed: int) -> list[dict]:
        """See `rope_tolerance`; nothing hangs on the seed."""
        return tolerance_of_batch(vlm, batch)


@dataclass(frozen=True)
class Readings:
    """RID and MixIG under every reading of the definitions (`readings`), of the model's own
    updates and, with the baseline as module, of attention's under both noise baselines."""

    name: ClassVar[str] = "readings"
    questions: ClassVar[int] = 20

    def rows(self, vlm: VisionLanguageModel, batch: Sequence[Sample], seed: int) -> list[dict]:
        """See `readings_of_batch`."""
        rows = readings_of_batch(vlm, batch)
        for module, baseline in BASELINES.items():
            with baseline(vlm, seed=seed) as noisy:
                rows += _attention_as(module, readings_of_batch(noisy, batch))
        return rows


def take(
    measurement: Measurement,
    vlm: VisionLanguageModel,
    samples: Sequence[Sample],
    *,
    seed: int,
    batch_size: int = BATCH_SIZE,
    output: Path | None = None,
) -> pd.DataFrame:
    """The rows of all samples, sample by sample.

    With `output` they go to that file as they come (see `run_file`), one line a sample, and a run
    that lies there goes on.

    Raises, before the model runs:
        ValueError: a negative seed, no samples, a batch size below 1, an `output` that cannot be
            written, or one with a damaged run or one of other settings or samples.
        BlockingIOError: another process is at work on `output`.
    and where it runs what `measure` does.
    """
    check_seed(seed)

    def work(_number: int, batch: list[Sample]) -> list[dict]:
        rows = measurement.rows(vlm, batch, seed)
        return [
            {"sample": sample.id, "rows": [row for row in rows if row["sample"] == sample.id]}
            for sample in batch
        ]

    done = in_batches(
        work,
        samples,
        batch_size=batch_size,
        settings=lambda: (
            settings_of(vlm, samples, batch_size) | {"measurement": repr(measurement), "seed": seed}
        ),
        device=vlm.device,
        label=f"{measurement.name} of {vlm.name}",
        output=output,
        resume=output is not None,
    )
    return pd.DataFrame([row for each in done for row in each["rows"]])


def own_updates(updates: pd.DataFrame) -> pd.DataFrame:
    """Of a table of `Updates` the model's own, as `measure` gives them."""
    return updates[updates["update"] == OWN].reset_index(drop=True)


def _attention_as(module: str, rows: list[dict], **columns: int) -> list[dict]:
    """Attention's rows under another name, with further columns."""
    new = {"module": module, **columns}
    return [row | new for row in rows if row["module"] == "attention"]
