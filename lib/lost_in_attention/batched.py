"""A list of samples worked through batch by batch: shared among processes, on disk, resumable.

One process or several (torchrun, accelerate) give the same rows: batches are cut from the list
of samples before they are shared out.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object
from tqdm import tqdm

from lost_in_attention.benchmarks import Sample
from lost_in_attention.changed import check_named
from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.provenance import weights_digest
from lost_in_attention.runfile import RunFile


def in_batches(
    work: Callable[[int, list[Sample]], list[dict]],
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

    `work(number, batch)` gives the rows of one batch.  With `output` rows go to that file as they
    come (see `runfile`); `resume` goes on with a run that lies there, and starts one where none
    does.  `settings`, which say what decides the rows, are asked for only then.

    Raises, before any work is done:
        ValueError: no samples, a batch size below 1, `resume` without `output`, or a run of other
            settings or samples in `output`.
        FileExistsError: a run lies in `output` and `resume` is False.
    """
    check_batches(samples, batch_size)
    if resume and output is None:
        raise ValueError("resume: expected an output to go on with, got none")
    state = PartialState(cpu=device.type == "cpu")
    run, rows = None, []
    if output is not None:
        total = len(samples) * rows_each
        run = RunFile(Path(output), settings(), batch_size * rows_each, total)
        rows = _done(state, run, resume)
    done = len(rows) // rows_each
    with tqdm(
        total=len(samples),
        initial=done,
        desc=label,
        unit="question",
        disable=not state.is_main_process,
    ) as bar:
        for start in range(done, len(samples), batch_size * state.num_processes):
            own = start + batch_size * state.process_index
            batch = list(samples[own : own + batch_size])
            new = gather_object(work(own // batch_size, batch) if batch else [])
            if run and state.is_main_process:
                run.append(new)
            rows += new
            bar.update(len(new) // rows_each)
    return rows


def check_batches(samples: Sequence[Sample], batch_size: int) -> None:
    """Raise ValueError unless there are samples and a positive batch size."""
    if not samples:
        raise ValueError("samples: expected at least one, got none")
    if batch_size < 1:
        raise ValueError(f"batch_size: expected at least 1, got {batch_size}")


def settings_of(
    vlm: VisionLanguageModel, samples: Sequence[Sample], batch_size: int
) -> dict[str, Any]:
    """What decides the rows of any run: the model with its weights, the questions, the batches.

    Raises ValueError if the model is changed and `vlm` does not name it so (`check_named`).
    """
    check_named(vlm)
    return {
        "model": vlm.name,
        "weights": weights_digest(vlm.model),
        "samples": len(samples),
        "questions": _digest(samples),
        "batch_size": batch_size,
    }


def _digest(samples: Sequence[Sample]) -> str:
    """A hash of all questions, answers and pixels, in order."""
    content = hashlib.sha256()
    for sample in samples:
        content.update(repr((sample.id, sample.prompt, sample.answer)).encode())
        for image in sample.images:
            content.update(image.tobytes())
    return content.hexdigest()[:16]


def _done(state: PartialState, run: RunFile, resume: bool) -> list[dict]:
    """The rows that are there already.

    Only the main process touches the file; the others hear from it, also that it refuses.
    """
    heard: list = [None]
    if state.is_main_process:
        try:
            heard = [run.begin(resume=resume)]
        except (ValueError, OSError) as refusal:
            heard = [refusal]
    [rows] = broadcast_object_list(heard)
    if isinstance(rows, Exception):
        raise rows
    return rows
