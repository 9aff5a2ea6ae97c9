"""What is measured of one model: its answers, its cases' graphs, and those of a few questions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lost_in_attention.benchmarks import Sample
from lost_in_attention.evaluation.measured import Subject
from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.models.settings import settings_of
from lost_in_attention.runs.batches import in_batches
from lost_in_attention.trace.annotations import asked_object
from lost_in_attention.trace.cases import Questions, answers_until, first_cases
from lost_in_attention.trace.counting import case_counts, edge_counts, lowest
from lost_in_attention.trace.graphs import Trace, check_threshold, trace_batch
from lost_in_attention.trace.ratio import with_ratios
from lost_in_attention.trace.regions import key_regions

# Cases that run together: with others beside it a weight is rounded otherwise.
TOGETHER = 8
_ANSWER = [
    "model", "sample", "image_source", "object", "reply", "finished", "parsed", "answer", "correct",
]  # fmt: skip


@dataclass(frozen=True)
class Tracing:
    """A model, the questions that it is traced on, and the threshold of its graphs.

    With `runs`, a folder, everything is kept there as it comes, and what lies there of the same
    model and questions is gone on with.

    Raises ValueError for a threshold that is no weight.
    """

    subject: Subject
    questions: Questions
    threshold: float
    runs: Path | None = None

    def __post_init__(self) -> None:
        check_threshold(self.threshold)

    @property
    def vlm(self) -> VisionLanguageModel:
        """The model, loaded when it is first needed."""
        return self.subject.vlm

    @property
    def settings(self) -> dict[str, Any]:
        """What tells traces from those of other questions or of another threshold."""
        return self.questions.digests | {"threshold": self.threshold}

    def answers(self, *, wanted: int, at_most: int) -> pd.DataFrame:
        """The replies of `answers_until`, row i to question i, with the object asked for."""
        samples = self.questions.samples
        replies = answers_until(
            self.vlm, samples, wanted=wanted, at_most=at_most, output=self._file("answers")
        )
        asked = (samples.table["question"][row] for row in samples.chosen[: len(replies)])
        return replies.assign(object=[asked_object(question) for question in asked])[_ANSWER]

    def cases(self, samples: Sequence[Sample]) -> pd.DataFrame:
        """`case_counts` of those whose object is seen, case by case; empty if none is."""
        regions = key_regions(self.vlm, samples, self.questions.objects).regions

        def counted(found: Trace) -> pd.DataFrame:
            own = {name: regions[name] for name in found.visual_tokens}
            return case_counts(found, own, self.threshold)

        seen = [sample for sample in samples if sample.id in regions]
        return self._counts("cases", seen, lowest(self.threshold), counted)

    def edges(self, count: int) -> pd.DataFrame:
        """`edge_counts` of the first `count` questions, and the images that they are about."""
        samples = list(self.questions.samples[:count])
        images = {sample.id: sample.image_source for sample in samples}
        counts = self._counts("edges", samples, self.threshold, edge_counts)
        return counts.assign(image_source=counts["sample"].map(images))

    def _counts(
        self,
        name: str,
        samples: Sequence[Sample],
        threshold: float,
        counted: Callable[[Trace], pd.DataFrame],
    ) -> pd.DataFrame:
        """What is `counted` of each sample, in their order."""

        def work(_number: int, batch: list[Sample]) -> list[dict]:
            table = counted(trace_batch(self.vlm, batch, threshold=threshold))
            own = dict(iter(table.groupby("sample")))
            return [{"sample": s.id, "counts": own[s.id].to_dict("list")} for s in batch]

        if not samples:
            return pd.DataFrame(columns=["sample"])
        rows = in_batches(
            work,
            samples,
            batch_size=TOGETHER,
            settings=lambda: settings_of(self.vlm, samples, TOGETHER) | self.settings,
            device=self.vlm.device,
            label=f"trace {self.vlm.name}",
            output=self._file(name),
            resume=self.runs is not None,
        )
        return pd.concat([pd.DataFrame(row["counts"]) for row in rows], ignore_index=True)

    def _file(self, name: str) -> Path | None:
        return self.runs and self.runs / f"{name}.jsonl"


@dataclass(frozen=True)
class TracedCases:
    """A model's answers, the edges of the graphs of `wanted` right and as many wrong ones, and
    where they come from: facts of a file, or None if they were traced now."""

    answers: pd.DataFrame
    counts: pd.DataFrame
    wanted: int
    facts: Mapping[str, Any] | None = None

    @property
    def chosen(self) -> pd.DataFrame:
        """The answers that are cases; those whose object is not seen have no counts."""
        return first_cases(self.answers, self.wanted)

    @property
    def seen(self) -> pd.DataFrame:
        """The cases that have counts."""
        return self.chosen[self.chosen["sample"].isin(self.counts["sample"])]

    def ratios(self) -> pd.DataFrame:
        """`with_ratios` of every graph, joined with the case: correct, image_source, kind (the
        object asked for) and key_share, the region's share of the visual tokens.

        Kinds of edges stand in kind_edges.
        """
        whole = self.counts[self.counts["among"] == "all tokens"].drop_duplicates("sample")
        share = whole.set_index("sample").eval("key_tokens / tokens")
        about = self.chosen.set_index("sample")[["correct", "image_source", "object"]]
        about = about.assign(key_share=share).rename(columns={"object": "kind"})
        ratios = with_ratios(self.counts).rename(columns={"kind": "kind_edges"})
        return ratios.join(about, on="sample")

    def note(self) -> dict[str, Any]:
        """How many were asked, how well, and how many cases of each sort there are."""
        right = int(self.chosen["correct"].sum())
        return {
            "asked": len(self.answers),
            "accuracy": self.answers["correct"].mean(),
            "right": right,
            "wrong": len(self.chosen) - right,
            "object cut off": len(self.chosen) - len(self.seen),
        }
