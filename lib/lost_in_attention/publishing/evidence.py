"""What a run has really loaded and asked, and whether that can decide a number of the paper.

A tier is a word that anyone can pass.  A verdict on the paper's numbers needs more: registered
weights (`models.registry`) that came from the hub at a recorded commit, the
benchmark's own repository, and the models and the number of questions that the claim is about
(data/paper/claim_needs.csv).  No digest of the published weights is known beforehand, so revision
and digest are recorded, not compared.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from datasets.naming import camelcase_to_snakecase
from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import HFValidationError

from lost_in_attention.benchmarks import BENCHMARKS, Sample, Samples
from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.models.changed import check_named
from lost_in_attention.models.registry import paper_variants, registered
from lost_in_attention.models.shipped import PRETRAINED, SMALL, loaded_subject, subject_of
from lost_in_attention.runs.paths import data_folder
from lost_in_attention.runs.provenance import weights_digest, without_folders

Value = TypeVar("Value")
_COMMIT = re.compile(r"[0-9a-f]{40}")
# How far a model's size may be from the registered one, which is rounded or that of its base.
_SIZES = (0.95, 1.05)
# The kinds of subjects, the strongest first: the paper's models, a decoder with published weights
# (SmolLM2, alone or with a tower trained here), and models trained here from scratch.
PUBLISHED = "published"
SUBJECTS = (PUBLISHED, PRETRAINED, SMALL)
# All that decides nothing, controls among them.
OTHER = "other"


@dataclass(frozen=True)
class Model:
    """One model that was loaded.

    `subject` is SMALL or PRETRAINED (`models.shipped.subject_of`), `variant` which one of the
    paper's it is (both may be missing), `revision` the commit on the hub that its files are of.
    """

    weights: str | None
    subject: str | None = None
    variant: str | None = None
    revision: str | None = None

    def __post_init__(self) -> None:
        if self.subject not in (PRETRAINED, SMALL, None):
            raise ValueError(
                f"subject: expected {PRETRAINED}, {SMALL} or None, got {self.subject!r}"
            )
        if self.variant and not (self.weights and _COMMIT.fullmatch(self.revision or "")):
            raise ValueError(
                f"model: expected {self.variant} with a commit and a digest of its weights, "
                f"got {self.revision!r} and {self.weights!r}"
            )


@dataclass(frozen=True)
class Asked:
    """The questions of one benchmark: how many, and the repository and commit they are of."""

    questions: int
    repository: str | None = None
    revision: str | None = None


@dataclass
class Evidence:
    """Collects a run's models, by the name they were loaded by, and benchmarks, by their key."""

    models: dict[str, Model] = field(default_factory=dict)
    benchmarks: dict[str, Asked] = field(default_factory=dict)

    def saw(self, vlm: VisionLanguageModel) -> None:
        """Record a model as it was loaded.

        Raises ValueError inside a block that changes it, if `vlm` does not name that.
        """
        check_named(vlm)
        weights, subject = weights_digest(vlm.model), loaded_subject(vlm)
        own = vlm.model.name_or_path == vlm.name
        revision = hub_revision(vlm.name, vlm.revision) if own else None
        variant = _variant(vlm) if revision else None
        self.models[without_folders(vlm.name)] = Model(weights, subject, variant, revision)

    def stored(self, names: Sequence[str]) -> None:
        """Record models whose answers an earlier run has stored, by their names (`subject_of`).

        Stored answers never are evidence on the paper's models.
        """
        for name in names:
            self.models.setdefault(name, Model(None, subject_of(name)))

    def asked(self, benchmark: str, samples: Samples | Sequence[Sample]) -> None:
        """Record the questions of a benchmark, before they are made a list.

        Raises ValueError on an unknown benchmark.
        """
        if benchmark not in BENCHMARKS:
            raise ValueError(f"benchmark: expected one of {sorted(BENCHMARKS)}, got {benchmark!r}")
        repository, revision = _origin(benchmark, getattr(samples, "table", None))
        self.benchmarks[benchmark] = Asked(len(samples), repository, revision)

    @property
    def questions(self) -> int:
        """The questions of the benchmark that was asked least."""
        return min((asked.questions for asked in self.benchmarks.values()), default=0)

    def by_subject(self, values: Mapping[str, Value]) -> dict[str, dict[str, Value]]:
        """What is known of each model, parted by `SUBJECTS` and OTHER; none of these is empty."""
        found: dict[str, dict[str, Value]] = {subject: {} for subject in (*SUBJECTS, OTHER)}
        for name, value in values.items():
            found[self._subject(name)][name] = value
        return {subject: own for subject, own in found.items() if own}

    def _subject(self, name: str) -> str:
        model = self.models.get(name)
        if model is None:
            return OTHER
        return model.subject or (PUBLISHED if model.variant else OTHER)

    def lacks(self, claim_id: str, *, questions: int | None = None) -> list[str]:
        """What is missing for a verdict on the paper's numbers, in words; empty if nothing is."""
        needs = _needs(claim_id)
        if needs is None:
            return [f"claim_needs.csv says of no measurement that it decides {claim_id}"]
        wanted, benchmarks, count = needs
        found = {model.variant for model in self.models.values()}
        strange = [name for name, model in self.models.items() if not model.variant]
        lacking = [f"{name} is not registered weights from the hub" for name in strange]
        lacking += [f"{variant} was not measured" for variant in wanted if variant not in found]
        lacking += [f"{key}: {why}" for key in benchmarks if (why := self._unasked(key, count))]
        if questions is not None and questions < count:
            lacking.append(f"{questions} questions, {count} needed")
        return lacking

    def _unasked(self, benchmark: str, count: int) -> str | None:
        asked = self.benchmarks.get(benchmark)
        if asked is None:
            return "was not asked"
        if asked.repository != BENCHMARKS[benchmark].hub or not asked.revision:
            return f"is not from {BENCHMARKS[benchmark].hub} on the hub"
        return None if asked.questions >= count else f"{asked.questions} of {count} questions"

    def as_json(self) -> dict[str, Any]:
        """As plain dictionaries; `from_json` is the way back."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Evidence":
        """Raises ValueError on a registered model without commit or digest, TypeError on a
        strange key."""
        return cls(
            {name: Model(**model) for name, model in content.get("models", {}).items()},
            {key: Asked(**asked) for key, asked in content.get("benchmarks", {}).items()},
        )


def hub_revision(name: str, revision: str | None = None) -> str | None:
    """The commit of a hub id's files in the hub's cache; None for a folder, or if none is there.

    `revision` is the one that was loaded, the main branch if not said.  A folder of the same name
    would have been loaded in its place.
    """
    if Path(name).exists() or (data_folder() / "models" / name).exists():
        return None
    try:
        found = try_to_load_from_cache(name, "config.json", revision=revision)
    except HFValidationError:
        return None
    # .../snapshots/<commit>/config.json
    commit = Path(found).parent.name if isinstance(found, str) else ""
    return commit if _COMMIT.fullmatch(commit) else None


def _variant(vlm: VisionLanguageModel) -> str | None:
    """The paper's variant of this hub id, if the model has about the size that it should have and
    all digits of its weights."""
    known, (least, most) = registered(vlm.name), _SIZES
    if known is None or not known.in_paper or vlm.quantization:
        return None
    billions = sum(weight.numel() for weight in vlm.model.parameters()) / 1e9
    return known.name if least <= billions / known.parameters <= most else None


def _origin(benchmark: str, table: Any) -> tuple[str | None, str | None]:
    """Repository and commit of rows that `datasets` took from the benchmark's own repository.

    It keeps them at <cache>/<owner>___<name>/<configuration>/<version>/<commit>/; rows of a local
    folder lie elsewhere.
    """
    hub = BENCHMARKS[benchmark].hub
    if hub is None:
        return None, None
    owner, name = hub.split("/")
    folder = f"{owner}___{camelcase_to_snakecase(name)}"
    places = {Path(each["filename"]).parent for each in getattr(table, "cache_files", [])}
    commits = {place.name for place in places if place.parts[-4:-3] == (folder,)}
    if len(places) != 1 or not all(map(_COMMIT.fullmatch, commits)):
        return None, None
    return (hub, *commits) if commits else (None, None)


def decidable(claim_id: str) -> bool:
    """Whether complete evidence on the paper's models can decide a claim."""
    return _needs(claim_id) is not None


@cache
def _table_of_needs() -> pd.DataFrame:
    return pd.read_csv(data_folder() / "paper" / "claim_needs.csv", dtype=str)


def _needs(claim_id: str) -> tuple[list[str], list[str], int] | None:
    """The variants, benchmarks and number of questions that a claim is about."""
    for row in _table_of_needs().itertuples():
        if any(fnmatch(claim_id, pattern) for pattern in row.claims.split()):
            everything = [model.name for model in paper_variants()]
            variants = everything if row.variants == "all" else row.variants.split()
            return variants, row.benchmarks.split(), int(row.questions)
    return None
