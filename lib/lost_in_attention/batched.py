"""A list of samples worked through batch by batch: shared among processes, on disk, resumable.

One process or several (torchrun, accelerate) give the same rows: batches are cut from the list
of samples before they are shared out.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase

from lost_in_attention.benchmarks import Sample
from lost_in_attention.changed import check_named
from lost_in_attention.decoding import Decoding
from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.provenance import versions, weights_digest
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


def check_batches(samples: Sequence[Sample], batch_size: int) -> None:
    """Raise ValueError unless there are samples and `batch_size` is a positive whole number."""
    if not len(samples):
        raise ValueError("samples: expected at least one, got none")
    if type(batch_size) is not int:
        raise ValueError(f"batch_size: expected a whole number, got {batch_size!r}")
    if batch_size < 1:
        raise ValueError(f"batch_size: expected at least 1, got {batch_size}")


def settings_of(
    vlm: VisionLanguageModel,
    samples: Sequence[Sample],
    batch_size: int,
    decoding: Decoding | None = None,
) -> dict[str, Any]:
    """What decides the rows of any run: model, processor, questions, batches and libraries.

    With `decoding` also how replies are generated.  What is long stands as a hash.
    Raises ValueError if the model is changed and `vlm` does not name it so (`check_named`).
    """
    check_named(vlm)
    settings = {
        "model": vlm.name,
        "weights": weights_digest(vlm.model),
        "architecture": _hash(_without_origin(vlm.model.config.to_dict())),
        "attention": vlm.decoder.config._attn_implementation,
        "chat_template": _hash(
            [vlm.processor.chat_template, vlm.processor.tokenizer.chat_template]
        ),
        "processor": _hash(json.loads(vlm.processor.to_json_string())),
        "tokenizer": _hash(_tokens(vlm.processor.tokenizer)),
        "samples": len(samples),
        "questions": _digest(samples),
        "batch_size": batch_size,
        "device": vlm.device.type,
        "versions": versions(),
    }
    if decoding is None:
        return settings
    generation = deepcopy(vlm.model.generation_config)
    generation.update(**decoding.arguments())
    return settings | {"generation": _hash(_without_origin(generation.to_dict()))}


def _without_origin(value: Any) -> Any:
    """A configuration without the names of its folder and of the version that wrote it."""
    if not isinstance(value, Mapping):
        return value
    kept = value.keys() - {"_name_or_path", "_from_model_config", "transformers_version"}
    return {name: _without_origin(value[name]) for name in kept}


def _tokens(tokenizer: PreTrainedTokenizerBase) -> list:
    return [tokenizer.get_vocab(), tokenizer.special_tokens_map, tokenizer.padding_side]


def _hash(value: Any) -> str:
    content = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _digest(samples: Sequence[Sample]) -> str:
    """A hash of every field of every sample and of all pixels, in order."""
    content = hashlib.sha256()
    for sample in samples:
        told = {f.name: getattr(sample, f.name) for f in fields(sample) if f.name != "images"}
        content.update(repr(told).encode())
        for image in sample.images:
            content.update(repr((image.mode, image.size, image.getpalette())).encode())
            content.update(image.tobytes())
    return content.hexdigest()[:16]


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
