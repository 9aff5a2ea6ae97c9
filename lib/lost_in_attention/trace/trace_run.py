"""One model traced over POPE's questions on objects that are there, into three tables."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from accelerate import PartialState

from lost_in_attention.benchmarks.base import WORLDS
from lost_in_attention.evaluation.measured import Subject, check_stored_place
from lost_in_attention.models.loading import Loading
from lost_in_attention.models.shipped import OWN_WORLD
from lost_in_attention.runs.numbers import check_whole
from lost_in_attention.runs.paths import check_writable
from lost_in_attention.runs.provenance import made_by
from lost_in_attention.trace.cases import Questions, questions_for
from lost_in_attention.trace.graphs import THRESHOLD, check_threshold
from lost_in_attention.trace.measuring import Tracing
from lost_in_attention.trace.stored import trace_chosen, traced_path, write_traces

TABLES = ("answers", "cases", "edges")


@dataclass(frozen=True)
class TraceRun(Loading):
    """What is asked for; the fields are the options of the command `trace`.

    Questions are asked until `cases` are right and as many wrong, at most `questions`; of the first
    `counted` the graphs' edges are counted.  "own" is the model's own world (`questions_for`).

    Raises ValueError on a number that is too small, and as `Loading` does.
    """

    model: str
    source: str = OWN_WORLD
    annotations: str = OWN_WORLD
    cases: int = 100
    questions: int = 1500
    counted: int = 40
    threshold: float = THRESHOLD
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("cases", "questions", "counted"):
            check_whole(name, getattr(self, name), least=1)
        check_whole("seed", self.seed, least=0)
        check_threshold(self.threshold)

    def run(self, *, runs: Path, output: Path) -> Path | None:
        """Trace everything, or what a broken-off run left, and write the tables.

        Unfinished rows lie in runs/traced/<model>; tables go to a folder in `output`.  Returns that
        folder, None in all processes but the main one.

        Raises, before the first question is asked, ValueError on folders that cannot be written,
        more questions to count than there are, and what `questions_for` raises.
        """
        started = datetime.now(UTC)
        check_writable("runs", runs)
        for name in TABLES:
            check_stored_place(traced_path(self.model, name, output), self.model)
        asked, state = self._asked(), PartialState(cpu=not torch.cuda.is_available())
        folder = traced_path(self.model, "", output).parent
        subject = Subject(self.model, **self.arguments())
        tracing = Tracing(subject, asked, self.threshold, runs / "traced" / folder.name)
        at_most = min(self.questions, len(asked.samples))
        answers = tracing.answers(wanted=self.cases, at_most=at_most)
        found = trace_chosen(tracing, answers, self.cases)
        made = (answers, found.counts, tracing.edges(self.counted))
        tables = dict(zip(TABLES, made, strict=True))
        if not state.is_main_process:
            return None
        origin = {
            "cases": self.cases,
            "questions": at_most,
            "counted": self.counted,
            "tier": "book" if asked.source in WORLDS else "paper",
            **made_by("trace", self.options, started),
        }
        write_traces(tracing, tables, origin, output)
        return folder

    def _asked(self) -> Questions:
        own = {"source": self.source, "annotations": self.annotations, "seed": self.seed}
        [asked] = questions_for([self.model], **own).values()
        if self.counted > len(asked.samples):
            raise ValueError(f"counted: expected 1 to {len(asked.samples)}, got {self.counted}")
        return asked
