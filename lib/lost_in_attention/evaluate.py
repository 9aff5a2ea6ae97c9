"""Ask a model a benchmark's questions and keep every reply.

One process or several (torchrun, accelerate) give the same table: batches are cut from the list
of samples before they are shared out, and each batch has its own seed.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from lost_in_attention.batched import in_batches, settings_of
from lost_in_attention.benchmarks import BENCHMARKS, Sample
from lost_in_attention.decoding import GREEDY, Decoding, batch_seed, replies
from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.provenance import versions


def evaluate(
    vlm: VisionLanguageModel,
    samples: Sequence[Sample],
    *,
    benchmark: str,
    decoding: Decoding = GREEDY,
    seed: int = 0,
    batch_size: int = 50,
    output: Path | None = None,
    resume: bool = False,
) -> pd.DataFrame:
    """One row a question: model, benchmark, sample, group, image_source, prompt, reply, parsed,
    answer, correct, the sample's fields, decoding (its name), seed, versions (JSON).

    A reply that cannot be parsed is None in `parsed` and not correct.  `seed` matters where
    `decoding` samples.  With `output` the rows go to that file as they come (see `runfile`);
    `resume` goes on with a run that lies there, and starts one where none does.

    Raises, before the model runs:
        ValueError: an unknown benchmark, no samples, a bad number, `resume` without `output`,
            or a run of other settings or samples in `output`.
        FileExistsError: a run lies in `output` and `resume` is False.
    """
    task = _Task(vlm, samples, benchmark, decoding, seed, batch_size)
    rows = in_batches(
        task.answer,
        samples,
        batch_size=batch_size,
        settings=task.settings,
        device=vlm.device,
        label=f"{vlm.name} on {benchmark}",
        output=output,
        resume=resume,
    )
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class _Task:
    """What is asked of whom and how; refuses what cannot be asked."""

    vlm: VisionLanguageModel
    samples: Sequence[Sample]
    benchmark: str
    decoding: Decoding
    seed: int
    batch_size: int

    def __post_init__(self) -> None:
        if self.benchmark not in BENCHMARKS:
            known = sorted(BENCHMARKS)
            raise ValueError(f"benchmark: expected one of {known}, got {self.benchmark!r}")
        if self.seed < 0:
            raise ValueError(f"seed: expected 0 or more, got {self.seed}")

    def settings(self) -> dict:
        """What decides the rows, for the run's file."""
        own = {
            "benchmark": self.benchmark,
            "decoding": asdict(self.decoding),
            "seed": self.seed,
        }
        return settings_of(self.vlm, self.samples, self.batch_size, self.decoding) | own

    @cached_property
    def origin(self) -> dict:
        """The columns that are the same in every row."""
        return {
            "decoding": self.decoding.name,
            "seed": self.seed,
            "versions": json.dumps(versions()),
        }

    def answer(self, number: int, batch: list[Sample]) -> list[dict]:
        """The rows of batch `number`."""
        seed = batch_seed(self.seed, number)
        texts = replies(self.vlm, batch, self.decoding, seed=seed)
        pairs = zip(batch, texts, strict=True)
        return [_row(self.vlm.name, self.benchmark, *pair) | self.origin for pair in pairs]


def _row(model: str, benchmark: str, sample: Sample, reply: str) -> dict:
    parsed, correct = BENCHMARKS[benchmark].judge(reply, sample)
    return {
        "model": model,
        "benchmark": benchmark,
        "sample": sample.id,
        "group": sample.group,
        "image_source": sample.image_source,
        "prompt": sample.prompt,
        "reply": reply,
        "parsed": parsed,
        "answer": sample.answer,
        "correct": correct,
        **sample.fields,
    }
