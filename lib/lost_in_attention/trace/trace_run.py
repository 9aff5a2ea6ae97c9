"""One model traced over POPE's questions on objects that are there, into three tables."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from accelerate import PartialState

from lost_in_attention.benchmarks.base import WORLDS
from lost_in_attention.models import load
from lost_in_attention.models.load import DTYPES
from lost_in_attention.models.shipped import OWN
from lost_in_attention.runs.numbers import check_whole
from lost_in_attention.runs.paths import check_writable
from lost_in_attention.runs.provenance import made_by
from lost_in_attention.trace.cases import questions_for
from lost_in_attention.trace.graphs import THRESHOLD, check_threshold
from lost_in_attention.trace.measuring import Subject
from lost_in_attention.trace.stored import trace_chosen, traced_folder, write_traces


@dataclass(frozen=True)
class TraceRun:
    """What is asked for; the fields are the options of the command `trace`.

    Questions are asked until `cases` are right and as many wrong, at most `questions`; of the first
    `counted` the graphs' edges are counted.  "own" is the model's own world (`questions_for`).

    Raises ValueError on a number that is too small or a name that is not known.
    """

    model: str
    source: str = OWN
    annotations: str = OWN
    cases: int = 100
    questions: int = 1500
    counted: int = 40
    threshold: float = THRESHOLD
    dtype: str = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("cases", "questions", "counted"):
            check_whole(name, getattr(self, name), least=1)
        check_whole("seed", self.seed, least=0)
        check_threshold(self.threshold)
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype: expected one of {list(DTYPES)}, got {self.dtype!r}")

    def run(self, *, runs: Path, output: Path) -> Path | None:
        """Trace everything, or what a broken-off run left, and write the tables.

        Unfinished rows lie in `runs`; tables go to a folder in `output`.  Returns that folder, None
        in all processes but the main one.

        Raises, before the first question is asked, ValueError on folders that cannot be written,
        more questions to count than there are, and what `questions_for` raises.
        """
        started = datetime.now(UTC)
        check_writable("runs", runs)
        check_writable("output", output)
        own = {"source": self.source, "annotations": self.annotations, "seed": self.seed}
        [asked] = questions_for([self.model], **own).values()
        there = len(asked.samples)
        if self.counted > there:
            raise ValueError(f"counted: expected 1 to {there}, got {self.counted}")
        state = PartialState(cpu=not torch.cuda.is_available())
        folder = traced_folder(self.model, output)
        vlm = load(self.model, device=state.device, dtype=DTYPES[self.dtype])
        subject = Subject(vlm, asked, self.threshold, runs / folder.name)
        answers = subject.answers(wanted=self.cases, at_most=min(self.questions, there))
        found = trace_chosen(subject, answers, self.cases)
        tables = {
            "answers": answers,
            "cases": found.counts,
            "edges": subject.edges(self.counted),
        }
        if not state.is_main_process:
            return None
        own = {"cases": self.cases, "questions": min(self.questions, there)}
        own |= {"counted": self.counted}
        own |= {"tier": "book" if asked.source in WORLDS else "paper"}
        write_traces(subject, tables, own | made_by("trace", asdict(self), started), folder)
        return folder
