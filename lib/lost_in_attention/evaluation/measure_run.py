"""One model through measurements, into a file each that pages read."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState

from lost_in_attention.benchmarks import BENCHMARKS, Samples, load_benchmark
from lost_in_attention.benchmarks.base import WORLDS
from lost_in_attention.evaluation.measured import (
    Subject,
    check_stored_place,
    measured_path,
    store,
)
from lost_in_attention.evaluation.measurements import MEASUREMENTS, OF_WEIGHTS
from lost_in_attention.models.load import resolve
from lost_in_attention.models.loading import Loading
from lost_in_attention.models.shipped import own_source
from lost_in_attention.residual.measurements import BATCH_SIZE, Measurement, take
from lost_in_attention.runs.names import names_in
from lost_in_attention.runs.paths import check_writable
from lost_in_attention.runs.provenance import made_by, without_folders


@dataclass(frozen=True)
class MeasureRun(Loading):
    """What is asked for; the fields are the options of the command `measure`.

    `measurements` are names parted by commas, or "all".  `questions` are drawn from the benchmark,
    and of these as many as suffice for a measurement (`Measurement.questions`).  Without `source`
    the model is asked in the world that it was trained on.

    Raises ValueError on an unknown name, a number that is too small, quantised weights for a
    measurement that replaces them (`OF_WEIGHTS`), or a model without a world of its own where no
    source is named, and what `Loading` and `resolve` do.
    """

    model: str
    measurements: str = "all"
    benchmark: str = "pope"
    source: str | None = None
    questions: int = 150
    seed: int = 0
    batch_size: int = BATCH_SIZE
    every: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_measurements()
        if self.benchmark not in BENCHMARKS:
            raise ValueError(
                f"benchmark: expected one of {list(BENCHMARKS)}, got {self.benchmark!r}"
            )
        for name in ("questions", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if self.seed < 0:
            raise ValueError(f"seed: expected 0 or more, got {self.seed}")
        resolve(self.model)
        own_source(self.model, self.source)

    def run(self, *, runs: Path, output: Path) -> list[Path]:
        """Measure everything, or what a broken-off run left, and write the files.

        Unfinished rows lie in runs/measured/<model>, one file a measurement.  Returns the files
        that were written, none in all processes but the main one.

        Raises ValueError, before the model is loaded, on folders that cannot be written or
        questions that cannot be read, and what `take` does.
        """
        check_writable("runs", runs)
        names = names_in("measurements", self.measurements, "all", MEASUREMENTS)
        paths = {name: measured_path(self.model, name, output) for name in names}
        for path in paths.values():
            check_stored_place(path, self.model)
        drawn, state = self._drawn(), PartialState(cpu=not torch.cuda.is_available())
        subject = Subject(self.model, **self.arguments())
        written = []
        for name, path in paths.items():
            measurement, started = MEASUREMENTS[name](self.benchmark), datetime.now(UTC)
            enough = len(drawn) if self.every else measurement.questions
            samples = list(draw_at_most(drawn, enough, seed=self.seed))
            table = take(
                measurement,
                subject.vlm,
                samples,
                seed=self.seed,
                batch_size=self.batch_size,
                output=runs / "measured" / path.parent.name / f"{name}.jsonl",
            )
            if state.is_main_process:
                origin = self._origin(measurement, started)
                store(path, table, measurement, subject, samples, seed=self.seed, origin=origin)
                written.append(path)
        return written

    def _check_measurements(self) -> None:
        asked = names_in("measurements", self.measurements, "all", MEASUREMENTS)
        if self.quantization and (of_weights := [name for name in asked if name in OF_WEIGHTS]):
            raise ValueError(
                f"measurements: expected none of {list(OF_WEIGHTS)}, which put noise in the place "
                f"of weights, with quantization {self.quantization!r}, got {of_weights}"
            )

    def _drawn(self) -> Samples:
        """The questions that all measurements draw from; raises what `load_benchmark` does."""
        samples = load_benchmark(self.benchmark, own_source(self.model, self.source))
        if self.questions > len(samples):
            raise ValueError(f"questions: expected 1 to {len(samples)}, got {self.questions}")
        return samples.draw(self.questions, seed=self.seed)

    def _origin(self, measurement: Measurement, started: datetime) -> dict[str, Any]:
        """Where a measurement's table comes from."""
        source = own_source(self.model, self.source)
        asked = self.options | {"measurements": measurement.name, "source": source}
        return {
            "tier": "book" if source in WORLDS else "paper",
            "benchmark": self.benchmark,
            "source": without_folders(source),
            **made_by("measure", asked, started),
        }


def draw_at_most(samples: Samples, count: int, *, seed: int) -> Samples:
    """`count` of the samples, or all where there are no more."""
    return samples.draw(count, seed=seed) if count < len(samples) else samples
