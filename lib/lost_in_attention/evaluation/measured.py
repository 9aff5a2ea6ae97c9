"""Measurements that are kept: a table a model and measurement, and what it is a table of.

A stored table stands for measuring where it is of this very model, these very questions, the same
seed and settings.  A model is known by its weights and by what it reads with; where the files of
its folder are those of the stored run, it need not be loaded to be known.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from lost_in_attention.benchmarks import Sample
from lost_in_attention.models import VisionLanguageModel, load
from lost_in_attention.models.load import ATTENTIONS, release, resolve
from lost_in_attention.models.registry import folder_name
from lost_in_attention.models.settings import commit_of, identity_of, questions_digest
from lost_in_attention.residual.measurements import Measurement, take
from lost_in_attention.runs.paths import check_place, data_folder
from lost_in_attention.runs.provenance import files_digest, without_folders
from lost_in_attention.runs.tables import read_facts, read_table, write_table

Facts = dict[str, Any]
# What tells the rows of one sample apart, in any measurement.
_PLACE = ("sample", "layer", "module", "update", "draw", "weights", "reading", "rotary")
NOTHING_STORED = "nothing is stored to compare with"


def measured_path(model: str, name: str, folder: Path | None = None) -> Path:
    """<folder>/<model>/<name>.parquet; the folder is data/results/measured by default."""
    place = folder or data_folder() / "results" / "measured"
    return place / folder_name(model) / f"{name}.parquet"


@dataclass
class Subject:
    """A model by its name, loaded when it is first needed; `seen` is then told of it.

    The other fields are what `load` takes.
    """

    name: str
    device: str | torch.device = "cpu"
    dtype: torch.dtype = torch.float32
    seen: Callable[[VisionLanguageModel], None] = lambda vlm: None
    quantization: str | None = None
    revision: str | None = None
    attention: str | None = None

    @classmethod
    def of(cls, vlm: VisionLanguageModel) -> "Subject":
        """A model that is loaded already, and known by its weights alone."""
        subject = cls(vlm.name, vlm.device, vlm.model.dtype)
        subject.vlm = vlm
        return subject

    @cached_property
    def vlm(self) -> VisionLanguageModel:
        """The model; raises what `load` does."""
        vlm = load(
            self.name,
            device=self.device,
            dtype=self.dtype,
            quantization=self.quantization,
            revision=self.revision,
            attention=self.attention,
        )
        self.seen(vlm)
        return vlm

    @property
    def loaded(self) -> bool:
        """Whether the model was needed so far."""
        return "vlm" in vars(self)

    def is_that_of(self, facts: Facts) -> bool:
        """Whether stored facts are about this very model; loads it if its files cannot tell."""
        if facts["dtype"] != _short(self.dtype):
            return False
        same = self._files and self._files == facts["files"] and self._reads_as(facts["identity"])
        if not self.loaded and same:
            return True
        return identity_of(self.vlm) == facts["identity"]

    def _reads_as(self, identity: Facts) -> bool:
        """Whether files would be read as those of a stored identity were."""
        asked = (self.quantization, self.attention or ATTENTIONS[0])
        return asked == (identity.get("quantization"), identity["attention"])

    def facts(self) -> Facts:
        """What it will be known by."""
        identity, dtype = identity_of(self.vlm), _short(self.vlm.model.dtype)
        known = {"identity": identity, "files": self._files, "dtype": dtype}
        return known | commit_of(self.vlm)

    def release(self) -> None:
        """Give the model's memory back, if it was loaded."""
        if self.loaded:
            release(self.vlm)

    @cached_property
    def _files(self) -> str | None:
        return files_digest(Path(resolve(self.name)))


def check_stored_place(path: Path, model: str) -> None:
    """Raises ValueError unless a table of `model` can be put at `path`.

    Models of one name in different folders would replace each other's.
    """
    check_place("output", path)
    facts, own = read_facts(path), without_folders(model)
    if facts.get("model") in (None, own) or facts["files"] == files_digest(Path(resolve(model))):
        return
    raise ValueError(
        f"output: expected no tables but those of {own!r} in {path.parent}, "
        f"got one of {facts['model']!r}"
    )


def store(
    path: Path,
    table: pd.DataFrame,
    measurement: Measurement,
    subject: Subject,
    samples: Sequence[Sample],
    *,
    seed: int,
    origin: Mapping[str, Any],
) -> None:
    """Write a table of `take`, and beside it what it is of and its `origin`."""
    of = {
        "measurement": repr(measurement),
        "model": without_folders(subject.name),
        **subject.facts(),
        "seed": seed,
    }
    write_table(path, table, of | dict(origin) | {"samples": digests(samples)})


def digests(samples: Sequence[Sample]) -> dict[str, str]:
    """A hash of each sample with its images, by its id."""
    return {sample.id: questions_digest([sample]) for sample in samples}


def stored(
    measurement: Measurement,
    subject: Subject,
    samples: Sequence[Sample],
    *,
    seed: int,
    folder: Path | None = None,
) -> tuple[pd.DataFrame, Facts] | None:
    """The stored rows of these samples and their origin; None where others or none are stored.

    The model is looked at last.  Raises ValueError if the table is damaged.
    """
    path = measured_path(subject.name, measurement.name, folder)
    if not path.exists():
        return None
    table, facts = read_table(path)
    asked = digests(samples)
    wanted = {"measurement": repr(measurement), "seed": seed}
    if not wanted.items() <= facts.items() or not asked.items() <= facts["samples"].items():
        return None
    if not subject.is_that_of(facts):
        return None
    return table[table["sample"].isin(asked)].reset_index(drop=True), facts


def stored_or_measured(
    measurement: Measurement,
    subject: str | VisionLanguageModel | Subject,
    samples: Sequence[Sample],
    *,
    seed: int,
    folder: Path | None = None,
) -> tuple[pd.DataFrame, Facts | None]:
    """The stored rows with their origin where there are some, otherwise measured now (None).

    Raises what `stored` and `residual.measurements.take` do.
    """
    if not isinstance(subject, Subject):
        of = isinstance(subject, VisionLanguageModel)
        subject = Subject.of(subject) if of else Subject(subject)
    found = stored(measurement, subject, samples, seed=seed, folder=folder)
    if found is not None:
        return found
    return take(measurement, subject.vlm, samples, seed=seed), None


@dataclass
class Measured:
    """One measurement of several models: stored where it is stored, otherwise measured now.

    `origins` are those of the stored tables by model; `agreement` says in words how well stored
    rows agree with some that were measured now.
    """

    measurement: Measurement
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    origins: dict[str, Facts] = field(default_factory=dict)
    agreement: str = NOTHING_STORED

    def add(self, subject: Subject, samples: Sequence[Sample], *, seed: int, live: int) -> None:
        """Add a model's rows; measure `live` of its samples again where they are stored ones."""
        name = str(without_folders(subject.name))
        self.tables[name], origin = stored_or_measured(
            self.measurement, subject, samples, seed=seed
        )
        if origin is None:
            return
        self.origins[name] = origin
        if live:
            again = take(self.measurement, subject.vlm, samples[:live], seed=seed)
            self.agreement = agreement(again, self.tables[name])

    @property
    def table(self) -> pd.DataFrame:
        """The rows of all models, with a column model."""
        named = [table.assign(model=name) for name, table in self.tables.items()]
        return pd.concat(named, ignore_index=True)

    def made_by(self) -> pd.DataFrame:
        """One row a model: where its numbers come from, of how many questions, since when."""
        rows = []
        for name, own in self.tables.items():
            origin = self.origins.get(name)
            rows.append(
                {
                    "model": name,
                    "measurement": self.measurement.name.replace("_", " "),
                    "numbers": "stored" if origin else "measured now",
                    "questions": own["sample"].nunique(),
                    "finished": origin["finished"] if origin else "now",
                }
            )
        return pd.DataFrame(rows)


def agreement(now: pd.DataFrame, kept: pd.DataFrame) -> str:
    """How far rows that were measured now are from stored ones, in words.

    Raises ValueError if a row that was measured now is not stored.
    """
    place = [name for name in _PLACE if name in now]
    numbers = [
        name for name in now.columns.difference(place) if pd.api.types.is_numeric_dtype(now[name])
    ]
    first, second = (table.set_index(place)[numbers].astype(float) for table in (now, kept))
    second = second.reindex(first.index)
    if not (first.isna() == second.isna()).all(axis=None):
        raise ValueError("results: expected every row that was measured now to be stored too")
    count, questions = int(first.notna().sum().sum()), now["sample"].nunique()
    largest = float((first - second).abs().max(axis=None))
    how = f"differ by at most {largest:.1g}" if largest else "are equal"
    of = f"{questions} questions" if questions > 1 else "one question"
    return f"{count:,} numbers of {of}, measured again, {how}"


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
