"""Which questions are traced: those on objects that are there, until enough are right and wrong."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from lost_in_attention.benchmarks import Samples, load_benchmark
from lost_in_attention.benchmarks.base import WORLDS
from lost_in_attention.evaluation.questions import evaluate
from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.models.settings import questions_digest
from lost_in_attention.models.shipped import OWN_WORLD, own_source
from lost_in_attention.runs.provenance import without_folders
from lost_in_attention.trace.annotations import Annotations, asked_object

BATCH = 50


def present_questions(samples: Samples, *, seed: int) -> Samples:
    """POPE's questions whose answer is yes, each of an image once, shuffled.

    POPE repeats them in each of its three categories, where only the absent objects differ.

    Raises ValueError if there are none.
    """
    asked = ("answer", "question", "image_source")
    rows = pd.DataFrame({column: samples.table[column][:] for column in asked})
    rows = rows.iloc[list(samples.chosen)]
    rows = rows[rows["answer"].str.lower() == "yes"]
    kept = rows.drop_duplicates(["question", "image_source"]).index.to_numpy()
    if not len(kept):
        raise ValueError("samples: expected questions with the answer yes, got none")
    return replace(samples, chosen=np.random.default_rng(seed).permutation(kept).tolist())


@dataclass(frozen=True)
class Questions:
    """A source's questions on objects that are there (`samples`), and where those lie."""

    source: str
    benchmark: Samples
    samples: Samples
    objects: Annotations

    @property
    def absent(self) -> int:
        """How many of the benchmark's questions are about objects that are not there."""
        return sum(answer.lower() == "no" for answer in self.benchmark.table["answer"][:])

    @cached_property
    def digests(self) -> dict[str, str]:
        """What tells these questions and annotations from any others."""
        return {"samples": questions_digest(self.samples), "annotations": self.objects.digest}


def questions_for(
    models: Sequence[str], *, source: str = OWN_WORLD, annotations: str = OWN_WORLD, seed: int
) -> dict[str, Questions]:
    """For each model POPE's questions of `source` on objects that are there (`present_questions`).

    "own" is the world that a model was trained on, and for `annotations` the world of the source.

    Raises ValueError where there is no such world or `check_annotated` does, and what
    `load_benchmark` and `Annotations.read` raise.
    """
    own = {name: own_source(name, source) for name in models}
    read = {each: _questions(each, annotations, seed) for each in dict.fromkeys(own.values())}
    return {name: read[own[name]] for name in models}


def _questions(source: str, annotations: str, seed: int) -> Questions:
    if annotations == OWN_WORLD and source not in WORLDS:
        raise ValueError(
            f"annotations: expected a file in COCO's format for questions from {source!r}, "
            f"got {OWN_WORLD!r}"
        )
    objects = Annotations.read(source if annotations == OWN_WORLD else annotations)
    benchmark = load_benchmark("pope", source)
    present = present_questions(benchmark, seed=seed)
    check_annotated(present, objects)
    return Questions(str(without_folders(source)), benchmark, present, objects)


def check_annotated(samples: Samples, annotations: Annotations) -> None:
    """Raise ValueError for a question whose image or object the annotations do not know.

    To be called before the questions are asked, which takes long; no picture is decoded.
    """
    sources, questions = (samples.table[column][:] for column in ("image_source", "question"))
    for row in samples.chosen:
        annotations.boxes(sources[row], asked_object(questions[row]))


def answers_until(
    vlm: VisionLanguageModel,
    samples: Samples,
    *,
    wanted: int,
    at_most: int,
    output: Path | None = None,
) -> pd.DataFrame:
    """The rows of `evaluate` for the first samples, until `wanted` are right and as many wrong.

    Asks no more than `at_most` questions, and stops at the end of a batch of 50: there may be
    fewer or more of each kind.  Row i is sample i.  With `output` each batch is kept beside that
    path as it comes, in a file of its own, and is not asked again.

    Raises ValueError for `wanted` or `at_most` below 1, and what `evaluate` does.
    """
    for name, value in (("wanted", wanted), ("at_most", at_most)):
        if value < 1:
            raise ValueError(f"{name}: expected at least 1, got {value}")
    parts = []
    for start in range(0, min(at_most, len(samples)), BATCH):
        part = samples[start : min(start + BATCH, at_most)]
        file = output and output.with_name(f"{output.stem}-{start}.jsonl")
        parts.append(
            evaluate(vlm, part, benchmark="pope", batch_size=BATCH, output=file, resume=bool(file))
        )
        if _enough(pd.concat(parts), wanted):
            break
    return pd.concat(parts, ignore_index=True)


def until_enough(answers: pd.DataFrame, *, wanted: int, at_most: int) -> pd.DataFrame:
    """Of the rows of a longer `answers_until` those that a shorter one gives."""
    for end in range(BATCH, min(at_most, len(answers)), BATCH):
        if _enough(answers[:end], wanted):
            return answers[:end]
    return answers[:at_most]


def _enough(answers: pd.DataFrame, wanted: int) -> bool:
    right = int(answers["correct"].sum())
    return min(right, len(answers) - right) >= wanted


def first_cases(answers: pd.DataFrame, wanted: int) -> pd.DataFrame:
    """The first `wanted` right and the first `wanted` wrong answers, in their order."""
    return answers.groupby("correct").head(wanted)
