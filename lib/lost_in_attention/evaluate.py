"""Ask a model a benchmark's questions and keep every reply.

One process or several (torchrun, accelerate) give the same table: batches are cut from the list
of samples before they are shared out, and each batch has its own seed.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object
from tqdm import tqdm

from lost_in_attention.benchmarks import BENCHMARKS, Sample
from lost_in_attention.decoding import GREEDY, Decoding, batch_seed, replies
from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.provenance import versions
from lost_in_attention.runfile import RunFile


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
    if resume and output is None:
        raise ValueError("resume: expected an output to go on with, got none")
    task = _Task(vlm, samples, benchmark, decoding, seed, batch_size)
    state = PartialState(cpu=vlm.device.type == "cpu")
    run, rows = None, []
    if output is not None:
        run = RunFile(Path(output), task.settings(), batch_size, len(samples))
        rows = _done(state, run, samples, resume)
    with tqdm(
        total=len(samples),
        initial=len(rows),
        desc=f"{vlm.name} on {benchmark}",
        unit="question",
        disable=not state.is_main_process,
    ) as bar:
        for start in range(len(rows), len(samples), batch_size * state.num_processes):
            new = gather_object(task.answer(start + batch_size * state.process_index))
            if run and state.is_main_process:
                run.append(new)
            rows += new
            bar.update(len(new))
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
        if not self.samples:
            raise ValueError("samples: expected at least one, got none")
        if self.seed < 0:
            raise ValueError(f"seed: expected 0 or more, got {self.seed}")
        if self.batch_size < 1:
            raise ValueError(f"batch_size: expected at least 1, got {self.batch_size}")

    def settings(self) -> dict:
        """What decides the rows, for the run's file."""
        return {
            "model": self.vlm.name,
            "benchmark": self.benchmark,
            "samples": len(self.samples),
            # Blanked images leave the ids as they are.
            "first_sample": _fingerprint(self.samples[0]),
            "decoding": asdict(self.decoding),
            "seed": self.seed,
            "batch_size": self.batch_size,
        }

    @cached_property
    def origin(self) -> dict:
        """The columns that are the same in every row."""
        return {
            "decoding": self.decoding.name,
            "seed": self.seed,
            "versions": json.dumps(versions()),
        }

    def answer(self, start: int) -> list[dict]:
        """The rows of the batch that starts at sample `start`; none past the end."""
        batch = list(self.samples[start : start + self.batch_size])
        if not batch:
            return []
        seed = batch_seed(self.seed, start // self.batch_size)
        texts = replies(self.vlm, batch, self.decoding, seed=seed)
        pairs = zip(batch, texts, strict=True)
        return [_row(self.vlm.name, self.benchmark, *pair) | self.origin for pair in pairs]


def _done(state: PartialState, run: RunFile, samples: Sequence[Sample], resume: bool) -> list[dict]:
    """The rows that are there already.

    Only the main process touches the file; the others hear from it, also that it refuses.
    """
    heard: list = [None]
    if state.is_main_process:
        try:
            heard = [run.begin(resume=resume)]
            _check_same_samples(heard[0], samples)
        except (ValueError, OSError) as refusal:
            heard = [refusal]
    [rows] = broadcast_object_list(heard)
    if isinstance(rows, Exception):
        raise rows
    return rows


def _check_same_samples(rows: Sequence[dict], samples: Sequence[Sample]) -> None:
    for number, (row, sample) in enumerate(zip(rows, samples[: len(rows)], strict=True)):
        if row["sample"] != sample.id:
            raise ValueError(
                f"output: expected sample {sample.id!r} in row {number}, got {row['sample']!r}"
            )


def _fingerprint(sample: Sample) -> str:
    """A hash of the question and of its images' pixels."""
    content = hashlib.sha256(json.dumps([sample.id, sample.prompt, sample.answer]).encode())
    for image in sample.images:
        content.update(image.tobytes())
    return content.hexdigest()[:16]


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
