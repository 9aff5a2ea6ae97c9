"""From a question to a judged row: the one lane that every accuracy of this project goes through.

A benchmark's questions are put to a model in one or several *ways*; each reply becomes a row that
the benchmark's own `score` can read.  Batches are cut from the list of samples before they are
shared among processes, and each has its own seed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lost_in_attention.benchmarks import BENCHMARKS, Sample
from lost_in_attention.evaluation.decoding import GREEDY, Decoding, Reply, batch_seed
from lost_in_attention.models import VisionLanguageModel, fitting_batch, longest_prompt
from lost_in_attention.models.settings import settings_of
from lost_in_attention.runs.batches import check_batches, in_batches
from lost_in_attention.runs.provenance import without_folders

# The replies to a batch under its seed: one list for each way, in the batch's order.
Replies = Callable[[list[Sample], int], Sequence[Sequence[Reply]]]


@dataclass(frozen=True)
class Asking:
    """What is asked of whom and how.

    Raises ValueError on an unknown benchmark, a negative seed, or rules of `judging` that the
    benchmark does not have.
    """

    vlm: VisionLanguageModel
    samples: Sequence[Sample]
    benchmark: str
    decoding: Decoding = GREEDY
    seed: int = 0
    batch_size: int = 50
    judging: str = "strict"

    def __post_init__(self) -> None:
        if self.benchmark not in BENCHMARKS:
            known = sorted(BENCHMARKS)
            raise ValueError(f"benchmark: expected one of {known}, got {self.benchmark!r}")
        if self.judging not in (known := BENCHMARKS[self.benchmark].judges):
            raise ValueError(
                f"judging: expected one of {[*known]} for {self.benchmark}, got {self.judging!r}"
            )
        if type(self.seed) is not int or self.seed < 0:
            raise ValueError(f"seed: expected a whole number, 0 or more, got {self.seed!r}")

    def table(
        self,
        replies: Replies,
        ways: Sequence[Mapping[str, Any]],
        *,
        output: Path | None = None,
        resume: bool = False,
        **settings: Any,
    ) -> pd.DataFrame:
        """One row a question and way, way by way for each question: `row` and the way's columns.

        `settings` are what else decides the rows; `output`, `resume` and what is raised are those
        of `batches.in_batches`.
        """

        def answered(number: int, batch: list[Sample]) -> list[dict]:
            texts = replies(batch, batch_seed(self.seed, number))
            return [
                self.row(sample, texts[way][place]) | dict(columns)
                for place, sample in enumerate(batch)
                for way, columns in enumerate(ways)
            ]

        check_batches(self.samples, self.batch_size)
        size = self._fitting()
        rows = in_batches(
            answered,
            self.samples,
            batch_size=size,
            settings=lambda: self._settings(size) | settings,
            device=self.vlm.device,
            label=f"{self.vlm.name} on {self.benchmark}",
            rows_each=len(ways),
            output=output,
            resume=resume,
        )
        return pd.DataFrame(rows)

    def row(self, sample: Sample, reply: Reply) -> dict[str, Any]:
        """A judged reply, with all that `Benchmark.score` reads."""
        parsed, correct = BENCHMARKS[self.benchmark].judge(
            reply.text, sample, finished=reply.finished, judging=self.judging
        )
        return {
            "model": without_folders(self.vlm.name),
            "benchmark": self.benchmark,
            "sample": sample.id,
            "group": sample.group,
            "image_source": sample.image_source,
            "prompt": sample.prompt,
            "reply": reply.text,
            "finished": reply.finished,
            "parsed": parsed,
            "answer": sample.answer,
            "correct": correct,
            **sample.fields,
        }

    def _fitting(self) -> int:
        """`batch_size`, or fewer where so many keys and values do not fit into memory.

        The first batch's longest prompt stands for all.  Batches decide the random numbers where
        replies are sampled, so there the size stays.
        """
        if not self.decoding.greedy:
            return self.batch_size
        tokens = longest_prompt(self.vlm, self.samples[: self.batch_size])
        return fitting_batch(
            self.vlm, tokens, self.decoding.max_new_tokens, at_most=self.batch_size
        )

    def _settings(self, batch_size: int) -> dict[str, Any]:
        """What decides the rows of any run, for its file."""
        own = {
            "benchmark": self.benchmark,
            "decoding": asdict(self.decoding),
            "seed": self.seed,
            "judging": self.judging,
        }
        return settings_of(self.vlm, self.samples, batch_size, self.decoding.arguments()) | own
