"""A list of samples worked through batch by batch: shared among processes, on disk, resumable.

One process or several (torchrun, accelerate) give the same rows: batches are cut from the list
of samples before they are shared out.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object
from tqdm import tqdm

from lost_in_attention.runs.numbers import check_whole
from lost_in_attention.runs.run_file import Identified, RunFile

T = TypeVar("T")


def in_batches(
    work: Callable[[int, list], list[dict]],
    samples: Sequence[Identified],
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
    come (see `run_file`); `resume` goes on with a run that lies there, and starts one where none
    does.  `settings`, which say what decides the rows, are asked for only then.

    Raises, before any work is done:
        ValueError: no samples, a batch size below 1, `resume` without `output`, an `output` that
            cannot be written, or one with a damaged run or one of other settings or samples.
        FileExistsError: a run lies in `output` and `resume` is False.
        BlockingIOError: another process is at work on `output`.
    """
    check_batches(samples, batch_size)
    if resume and output is None:
        raise ValueError("resume: expected an output to go on with, got none")
    state = PartialState(cpu=device.type == "cpu")
    run = output and RunFile(Path(output), settings(), samples, rows_each)
    with _opened(state, run, resume) as rows:
        done = len(rows) // rows_each
        hidden = not state.is_main_process
        with tqdm(
            desc=label, total=len(samples), initial=done, unit="question", disable=hidden
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


def batches(samples: Sequence[T], size: int, doing: str) -> Iterator[list[T]]:
    """The samples in batches, with a progress bar; raises what `check_batches` does."""
    check_batches(samples, size)
    with tqdm(total=len(samples), desc=doing, unit="sample") as bar:
        for start in range(0, len(samples), size):
            batch = list(samples[start : start + size])
            yield batch
            bar.update(len(batch))


def check_batches(samples: Sequence, batch_size: int) -> None:
    """Raise ValueError unless there are samples and `batch_size` is a positive whole number."""
    if not len(samples):
        raise ValueError("samples: expected at least one, got none")
    check_whole("batch_size", batch_size, least=1)


@contextmanager
def _opened(state: PartialState, run: RunFile | None, resume: bool) -> Iterator[list[dict]]:
    """The rows that are there already; within the block nobody else works on the file.

    Only the main process touches the file; the others hear from it, also that it refuses.
    """
    with ExitStack() as held:
        heard: list = [[]]
        if run and state.is_main_process:
            try:
                held.enter_context(run.alone())
                heard = [run.begin(resume=resume)]
            except (ValueError, OSError) as refusal:
                heard = [refusal]
        [rows] = broadcast_object_list(heard)
        if isinstance(rows, Exception):
            raise rows
        yield rows
