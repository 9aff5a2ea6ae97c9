"""A list of samples answered batch by batch: shared among processes, kept on disk, resumable.

One process or several (torchrun, accelerate) give the same rows: batches are cut from the list
of samples before they are shared out.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object
from tqdm import tqdm

from lost_in_attention.benchmarks import Sample
from lost_in_attention.runfile import RunFile


def in_batches(
    answer: Callable[[int], list[dict]],
    samples: Sequence[Sample],
    *,
    batch_size: int,
    settings: Callable[[], Mapping[str, Any]],
    device: torch.device,
    label: str,
    rows_each: int = 1,
    output: Path | None = None,
    resume: bool = False,
) -> list[dict]:
    """The rows of all samples, `rows_each` a sample, in the samples' order.

    `answer(start)` gives the rows of the batch that starts at sample `start`, none past the end;
    each row names its `sample`.  With `output` rows go to that file as they come (see `runfile`);
    `resume` goes on with a run that lies there, and starts one where none does.  `settings` are
    asked for only then.

    Raises, before anything is answered:
        ValueError: a batch size below 1, `resume` without `output`, or a run of other settings
            or samples in `output`.
        FileExistsError: a run lies in `output` and `resume` is False.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size: expected at least 1, got {batch_size}")
    if resume and output is None:
        raise ValueError("resume: expected an output to go on with, got none")
    state = PartialState(cpu=device.type == "cpu")
    run, rows = None, []
    if output is not None:
        total = len(samples) * rows_each
        run = RunFile(Path(output), settings(), batch_size * rows_each, total)
        rows = _done(state, run, samples, rows_each, resume)
    done = len(rows) // rows_each
    with tqdm(
        total=len(samples),
        initial=done,
        desc=label,
        unit="question",
        disable=not state.is_main_process,
    ) as bar:
        for start in range(done, len(samples), batch_size * state.num_processes):
            new = gather_object(answer(start + batch_size * state.process_index))
            if run and state.is_main_process:
                run.append(new)
            rows += new
            bar.update(len(new) // rows_each)
    return rows


def fingerprint(sample: Sample) -> str:
    """A hash of the question and of its images' pixels."""
    content = hashlib.sha256(json.dumps([sample.id, sample.prompt, sample.answer]).encode())
    for image in sample.images:
        content.update(image.tobytes())
    return content.hexdigest()[:16]


def _done(
    state: PartialState, run: RunFile, samples: Sequence[Sample], rows_each: int, resume: bool
) -> list[dict]:
    """The rows that are there already.

    Only the main process touches the file; the others hear from it, also that it refuses.
    """
    heard: list = [None]
    if state.is_main_process:
        try:
            heard = [run.begin(resume=resume)]
            _check_same_samples(heard[0], samples, rows_each)
        except (ValueError, OSError) as refusal:
            heard = [refusal]
    [rows] = broadcast_object_list(heard)
    if isinstance(rows, Exception):
        raise rows
    return rows


def _check_same_samples(rows: Sequence[dict], samples: Sequence[Sample], rows_each: int) -> None:
    for number in range(0, len(rows), rows_each):
        sample = samples[number // rows_each]
        if rows[number]["sample"] != sample.id:
            raise ValueError(
                f"output: expected sample {sample.id!r} in row {number}, "
                f"got {rows[number]['sample']!r}"
            )
