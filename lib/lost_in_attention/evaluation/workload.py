"""The paper's tables and figures as jobs of a workflow: their files and their options.

A job is one command for one model: `measure` of one measurement, `answer` (`sap` on one benchmark),
`gather` (`sap` on all of them, whose answers are there by then), `trace` or `sink_tables`
(`sinks`).
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from lost_in_attention.benchmarks import BENCHMARKS
from lost_in_attention.benchmarks.base import WORLDS, is_source
from lost_in_attention.evaluation.grid import PRESETS
from lost_in_attention.evaluation.measurements import MEASUREMENTS
from lost_in_attention.evaluation.subjects import JobSubject, for_target, job_subjects
from lost_in_attention.evaluation.targets import TARGETS
from lost_in_attention.models.load import DTYPES
from lost_in_attention.runs.names import names_in
from lost_in_attention.runs.numbers import check_whole

# What the file of a grid is called by (`stored.results_path`).
PREFIXES = {"sap": "default", "sap-ablations": "ablations"}
# What is measured of all questions, as the paper does; of the others as many as suffice.
_OF_ALL = frozenset(name for target in TARGETS.values() for name in target.measurements)


@dataclass(frozen=True)
class Workload:
    """What is asked for: the fields are the keys of workflow/config.yaml, which explains them.

    Raises ValueError on an empty value, a number that is too small, an unknown name, or a source
    or annotations that are not there; `subjects` raises what `job_subjects` does.
    """

    models: str
    questions: int
    ablation_questions: int
    benchmarks: str
    ablation_benchmarks: str
    preset: str
    noise_seeds: int
    cases: int
    traced_questions: int
    counted: int
    sink_questions: int
    annotations: str
    source: str
    dtype: str
    batch_size: int | str
    seed: int
    gpus: int
    results: str
    runs: str

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Workload":
        """Raises ValueError on keys that are missing or unknown too."""
        keys = {field.name for field in fields(cls)}
        if wrong := keys ^ set(config):
            raise ValueError(f"config: expected the keys of config.yaml, got or lack {wrong}")
        return cls(**config)

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type is str and not (isinstance(value, str) and value.strip()):
                raise ValueError(f"{field.name}: expected text, got {value!r}")
        least = {"gpus": 0, "seed": 0} | dict.fromkeys(_COUNTS, 1)
        for name, number in least.items():
            check_whole(name, getattr(self, name), least=number)
        for name in ("benchmarks", "ablation_benchmarks"):
            names_in(name, getattr(self, name), "all", BENCHMARKS)
        names_in("preset", self.preset, "both", PRESETS)
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype: expected one of {list(DTYPES)}, got {self.dtype!r}")
        if self.batch_size != "auto":
            check_whole("batch_size", self.batch_size, least=1)
        if self.source != "auto" and not is_source(self.source):
            raise ValueError(
                f"source: expected 'auto', 'digits', 'pictures', 'hub', a folder that exists or "
                f"a hub id, got {self.source!r}"
            )
        if self.annotations not in ("own", *WORLDS) and not Path(self.annotations).is_file():
            raise ValueError(f"annotations: expected a file, got {self.annotations!r}")

    @cached_property
    def subjects(self) -> dict[str, JobSubject]:
        """Every model by the folder of its results, those that are left out too."""
        return {each.folder: each for each in job_subjects(self.models)}

    @property
    def possible(self) -> list[str]:
        """The folders of those models that there are jobs for."""
        return [folder for folder, each in self.subjects.items() if not each.reason]

    @property
    def state(self) -> str:
        """The folder of unfinished work: a run keeps to its settings, others have their own."""
        told = (self.questions, self.ablation_questions, self.dtype, self.seed)
        return f"{self.runs}/{'-'.join(map(str, told))}"

    def files(self, target: str) -> list[str]:
        """The results that a table or figure is made of."""
        wanted, found = TARGETS[target], []
        for each in for_target(wanted, [*self.subjects.values()], self.models):
            own = [f"measured/{each.folder}/{name}" for name in wanted.measurements]
            own += [f"{p}-{each.folder}" for p, grid in PREFIXES.items() if grid in wanted.grids]
            own += [f"traced/{each.folder}/cases"] if wanted.traced else []
            found += [f"{self.results}/{name}.parquet" for name in own]
        return found

    def of_model(self, model: str) -> list[str]:
        """All results that the chapters about one model read: those of the targets, and what is
        measured beside them.  Traces only where the boxes of what is asked about are known."""
        measured = [f"measured/{model}/{name}" for name in MEASUREMENTS]
        grids = [f"{prefix}-{model}" for prefix in PREFIXES]
        traced = [f"traced/{model}/cases"] if self.has_boxes(model) else []
        return [f"{self.results}/{name}.parquet" for name in (*measured, *grids, *traced)]

    def sinks(self) -> list[str]:
        """The tables of the chapter on the sink, one for each model that there are jobs for."""
        return [f"{self.results}/sinks/{model}/updates.parquet" for model in self.possible]

    def in_chapters(self, model: str) -> dict[str, Any]:
        """What chapters about one model are told, so that they read what is stored of it."""
        return {
            "model": self.subjects[model].model,
            "source": self.source_of(model),
            "tier": "paper" if self.dtype == "bfloat16" else "book",
            "questions": self.questions,
            "traced": self.traced_questions,
            "cases": self.cases,
            "annotations": "own" if self.source_of(model) in WORLDS else self.annotations,
        }

    def has_boxes(self, model: str) -> bool:
        """Whether there are boxes of the objects that a model is asked about."""
        return self.source_of(model) in WORLDS or self.annotations != "own"

    def source_of(self, model: str) -> str:
        """Where a model's questions come from, by the folder of its results."""
        return self.subjects[model].source if self.source == "auto" else self.source

    def asked(self, prefix: str) -> list[str]:
        """The benchmarks of a grid, by the prefix of its file."""
        ablated = PREFIXES[prefix] == "ablations"
        names = self.ablation_benchmarks if ablated else self.benchmarks
        return names_in("benchmarks", names, "all", BENCHMARKS)

    def options(self, job: str, model: str, **wildcards: str) -> str:
        """What a job's command is called with, but for where it writes; `model` is a folder."""
        subject, source = self.subjects[model], self.source_of(model)
        own = {"model": subject.model, "source": source, "dtype": self.dtype, "seed": self.seed}
        own |= getattr(self, f"_{job}_options")(subject, source, **wildcards)
        return " ".join(
            f"--{name.replace('_', '-')}" + ("" if value is True else f" {shlex.quote(str(value))}")
            for name, value in own.items()
        )

    def _measure_options(self, subject: JobSubject, source: str, measurement: str) -> dict:
        own = {"measurements": measurement, "questions": self.questions}
        own |= {"batch_size": self._batch_size(subject)}
        return own | ({"every": True} if measurement in _OF_ALL else {})

    def _answer_options(
        self, subject: JobSubject, source: str, prefix: str, benchmark: str
    ) -> dict:
        return {
            "benchmarks": benchmark,
            "questions": self.drawn(prefix),
            "where": PREFIXES[prefix],
            "preset": self.preset,
            "noise_seeds": self.noise_seeds,
            "batch_size": self._batch_size(subject),
        }

    def _gather_options(self, subject: JobSubject, source: str, prefix: str) -> dict:
        return self._answer_options(subject, source, prefix, ",".join(self.asked(prefix)))

    def _trace_options(self, subject: JobSubject, source: str) -> dict:
        return {
            "annotations": "own" if source in WORLDS else self.annotations,
            "cases": self.cases,
            "questions": self.traced_questions,
            "counted": self.counted,
        }

    def _sink_tables_options(self, subject: JobSubject, source: str) -> dict:
        # One question's states and attention are kept at a time.
        return {"count": self.sink_questions, "batch_size": 1}

    def _batch_size(self, subject: JobSubject) -> int:
        return subject.shape.batch_size if self.batch_size == "auto" else self.batch_size

    def drawn(self, prefix: str) -> int:
        """How many questions are drawn for a grid, by the prefix of its file."""
        return self.ablation_questions if PREFIXES[prefix] == "ablations" else self.questions


_COUNTS = (
    "questions", "ablation_questions", "noise_seeds", "cases", "traced_questions", "counted",
    "sink_questions",
)  # fmt: skip
