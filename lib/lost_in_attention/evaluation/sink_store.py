"""The tables of `measure_sinks` that are kept: a folder a subject, one Parquet file a table.

A subject is a model and what it reads.  The pretrained decoder reads passages of a novel; a model
that sees reads questions of a benchmark, and has one more table, of `sink_shares` under the paper's
setting with the uniform prior.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lost_in_attention.benchmarks import Sample, load_benchmark
from lost_in_attention.models import VisionLanguageModel, load
from lost_in_attention.models.devices import SPREAD
from lost_in_attention.models.loading import Loading
from lost_in_attention.models.registry import folder_name
from lost_in_attention.models.settings import settings_of
from lost_in_attention.models.shipped import OWN_WORLD, own_source
from lost_in_attention.models.text_decoder import NAME, TextDecoder, load_text_decoder
from lost_in_attention.residual.sink_effect import SIZE, SinkTables, measure_sinks
from lost_in_attention.runs.numbers import check_whole
from lost_in_attention.runs.paths import check_place, data_folder
from lost_in_attention.runs.provenance import made_by, weights_digest
from lost_in_attention.runs.tables import OWN, read_table, write_table
from lost_in_attention.sap import SharedAttentionPrior, paper
from lost_in_attention.sap.intervention import check_fits
from lost_in_attention.sap.sink_shares import sink_shares
from lost_in_attention.texts import passages

BENCHMARK = "pope"


@dataclass(frozen=True)
class SinkRun(Loading):
    """One subject: `model` on `count` samples, drawn under `seed`.

    `model` is "smollm2", the decoder by itself, or what `load` takes; `random_seed` is that of a
    decoder that has learned nothing.  `source` is where POPE's questions come from, "own" the world
    that the model was trained on (`own_source`).  The decoder reads passages.

    Raises ValueError on a count below 2, a batch size below 1, a negative seed, a random seed for
    another model than the decoder, or for that one a source, other weights than it has, or more
    than one device; a model without a world of its own where no source is named; and as `Loading`.
    """

    model: str
    count: int
    seed: int = 0
    random_seed: int | None = None
    batch_size: int = 1
    source: str = OWN_WORLD

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.model == NAME:
            self._check_decoder()
        else:
            own_source(self.model, self.source)
        check_whole("count", self.count, least=2)
        check_whole("batch_size", self.batch_size, least=1)
        check_whole("seed", self.seed, least=0)
        if self.random_seed is not None:
            check_whole("random_seed", self.random_seed, least=0)
            if self.model != NAME:
                raise ValueError(f"random_seed: expected none but for {NAME}, got {self.model!r}")

    def _check_decoder(self) -> None:
        """It is the package's, in float32, as transformers chooses to run it, and reads texts."""
        usual = {"source": OWN_WORLD, "dtype": "float32"}
        usual |= dict.fromkeys(("quantization", "revision", "attention"))
        for name, value in usual.items():
            if (got := getattr(self, name)) != value:
                raise ValueError(f"{name}: expected {value or 'none'} for {NAME}, got {got!r}")
        if self.device == SPREAD:
            raise ValueError(f"device: expected one for {NAME}, got {SPREAD!r}")

    @property
    def subject(self) -> str:
        """What the tables are kept under."""
        name = folder_name(self.model)
        return name if self.random_seed is None else f"{name}-random-{self.random_seed}"

    def load(self) -> VisionLanguageModel:
        """The model; raises what `load` and `load_text_decoder` do."""
        how = self.arguments()
        if self.model == NAME:
            return load_text_decoder(random_seed=self.random_seed, device=how["device"])
        return load(self.model, **how)

    def samples(self) -> list[Sample]:
        """What it reads, in order; raises ValueError if there are not that many."""
        if self.model != NAME:
            pool = load_benchmark(BENCHMARK, own_source(self.model, self.source))
            if self.count > len(pool):
                raise ValueError(f"count: expected 2 to {len(pool)}, got {self.count}")
            return list(pool.draw(self.count, seed=self.seed))
        return drawn(passages(), self.count, seed=self.seed)

    def measure(self, folder: Path | None = None) -> Path:
        """Measure and keep; returns the folder of the tables.

        Raises, before the model is loaded, what `samples` and `load_benchmark` do, and ValueError
        if a table cannot be written.
        """
        started, samples = datetime.now(UTC), self.samples()
        place = sinks_folder(self.subject, folder)
        for name in (*_TABLES, _REPLACED):
            check_place("output", place / f"{name}.parquet")
        vlm = self.load()
        plan = replaced_by(vlm)
        tables = dict(vars(measure_sinks(vlm, samples, batch_size=self.batch_size, seed=self.seed)))
        if plan is not None:
            tables[_REPLACED] = sink_shares(vlm, samples, plan)
        facts = self._facts(vlm, samples, started) | {"plan": plan and plan.label}
        for name, table in tables.items():
            write_table(place / f"{name}.parquet", table, facts | {"table": name})
        return place

    def _facts(
        self, vlm: VisionLanguageModel, samples: Sequence[Sample], started: datetime
    ) -> dict[str, Any]:
        options = dict(self.options)
        if self.model != NAME:
            options["source"] = own_source(self.model, self.source)
        origin = made_by("sinks", options, started)
        return {**origin, "size": SIZE, **settings_of(vlm, samples, self.batch_size)}


_TABLES = tuple(each.name for each in fields(SinkTables))
_REPLACED = "replaced"


def replaced_by(vlm: VisionLanguageModel) -> SharedAttentionPrior | None:
    """What is put in attention's place: the paper's setting, a uniform prior.

    None where this model's attention cannot be replaced; the decoder by itself sees no picture.
    """
    if isinstance(vlm, TextDecoder):
        return None
    plan = paper(vlm.family.key, "uniform", depth=len(vlm.layers))
    try:
        check_fits(vlm, plan)
    except ValueError:
        return None
    return plan


def drawn(samples: Sequence[Sample], count: int, *, seed: int) -> list[Sample]:
    """`count` different samples, in their order; a larger draw under the same seed has them too.

    Raises ValueError if there are not that many.
    """
    if not 0 < count <= len(samples):
        raise ValueError(f"count: expected 1 to {len(samples)}, got {count}")
    chosen = np.random.default_rng(seed).permutation(len(samples))[:count]
    return [samples[index] for index in sorted(chosen)]


def sinks_folder(subject: str, folder: Path | None = None) -> Path:
    """<folder>/<subject>; data/results/sinks by default."""
    return (folder or data_folder() / "results" / "sinks") / subject


def has_sinks(subject: str, folder: Path | None = None) -> bool:
    """Whether tables are kept of a subject."""
    return sinks_folder(subject, folder).is_dir()


def read_sinks(subject: str, folder: Path | None = None) -> tuple[SinkTables, dict[str, Any]]:
    """The kept tables of a subject, and what was said of them.

    Raises FileNotFoundError where nothing is kept, ValueError if a table is not the one that its
    facts are about, or if they are not of one run.
    """
    if not has_sinks(subject, folder):
        raise FileNotFoundError(
            f"subject: expected one that was measured, got {subject!r}; "
            "python -m lost_in_attention sinks makes its tables"
        )
    place = sinks_folder(subject, folder)
    found = {name: read_table(place / f"{name}.parquet") for name in _TABLES}
    facts = found["updates"][1]
    for name, (_, own) in found.items():
        if _run_of(own) != _run_of(facts):
            raise ValueError(
                f"results: expected tables of one run in {place}, got {name!r} of another"
            )
    return SinkTables(**{name: table for name, (table, _) in found.items()}), facts


def _run_of(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of a table, without what is the table's own."""
    return {name: value for name, value in facts.items() if name not in (*OWN, "table")}


def read_replaced(subject: str, folder: Path | None = None) -> pd.DataFrame | None:
    """The kept table of `sink_shares`; None where the subject has none.

    Raises ValueError if it is not the one that its facts are about.
    """
    path = sinks_folder(subject, folder) / f"{_REPLACED}.parquet"
    return read_table(path)[0] if path.exists() else None


def measured_again(tables: SinkTables, facts: Mapping[str, Any], count: int) -> str:
    """The first `count` samples measured now, beside what is kept of them, in a sentence.

    Raises OSError where the model cannot be obtained.
    """
    run = SinkRun(**facts["options"])
    vlm = run.load()
    samples = run.samples()[:count]
    now = measure_sinks(vlm, samples, batch_size=run.batch_size, seed=run.seed).updates
    both = now.merge(tables.updates, on=_KEYS, suffixes=("", "_kept"), validate="1:1")
    apart = (both["rid"] - both["rid_kept"]).abs().max()
    same = "the same" if weights_digest(vlm.model) == facts["weights"] else "other"
    return (
        f"Measured just now, with {same} weights: {len(samples)} of {facts['samples']} samples; "
        f"{len(both)} of {len(now)} updates are kept ones, and none differs in RID by more than "
        f"{apart:.1g}."
    )


_KEYS = ["rows", "sample", "layer", "module", "update"]
