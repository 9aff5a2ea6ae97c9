"""Time of `measure` beside a plain forward pass and a straight reading of the definitions.

One run asks the same questions three times over, from images and words to numbers:

- forward: the model alone,
- measure: the library,
- straight: all states kept, and RID and MixIG of every update as the definitions say, with
  torch.linalg.svd of both states of every update.

The methods take turns and the smallest of the repeats counts, so that other work on the machine
falls on all alike.  `--shape` takes a decoder of random weights in place of a trained model; its
questions are random words.  On a GPU the memory beyond the model is measured too.

    python speed/measure.py --output speed/results/measure.json
    python speed/measure.py --shape 1400x28x3584 --questions 1 --output measure-gpu.json
"""

import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import pandas as pd
import torch
import typer
from common import SEED, proportioned, random_decoder, random_words, show, store
from metrics import straight_rid, straight_tme

from lost_in_attention.benchmarks import Sample, load_benchmark
from lost_in_attention.models import VisionLanguageModel, load
from lost_in_attention.residual.measure import measure, prepared
from lost_in_attention.residual.stream import record
from lost_in_attention.runs.batches import batches
from lost_in_attention.runs.provenance import device as device_name


def forward(vlm: VisionLanguageModel, samples: Sequence[Sample], batch_size: int) -> None:
    for batch in batches(samples, batch_size, "forward"):
        record(vlm, prepared(vlm, batch, "all")[0], lambda state: None)


def library(vlm: VisionLanguageModel, samples: Sequence[Sample], batch_size: int) -> pd.DataFrame:
    return measure(vlm, samples, batch_size=batch_size)


def straight(vlm: VisionLanguageModel, samples: Sequence[Sample], batch_size: int) -> pd.DataFrame:
    rows = []
    for batch in batches(samples, batch_size, "straight"):
        inputs, real = prepared(vlm, batch, "all")
        states = []
        record(vlm, inputs, lambda state, kept=states: kept.append(state.hidden.clone()))
        for index, mask in enumerate(real):
            own = [state[index][mask].double() for state in states]
            rows += [
                {"rid": straight_rid(x, y), "mixig": straight_tme(y) - straight_tme(x)}
                for x, y in pairwise(own)
            ]
    return pd.DataFrame(rows)


METHODS: dict[str, Callable] = {"forward": forward, "measure": library, "straight": straight}


def run_once(method: str, vlm, samples, batch_size: int) -> tuple[dict, pd.DataFrame | None]:
    """Seconds on the wall and of all threads, and on a GPU the memory beyond the model."""
    cuda = vlm.device.type == "cuda"
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        model_memory = torch.cuda.memory_allocated()
    wall, processor = time.perf_counter(), time.process_time()
    table = METHODS[method](vlm, samples, batch_size)
    if cuda:
        torch.cuda.synchronize()
    spent = {
        "wall_s": time.perf_counter() - wall,
        "processor_s": time.process_time() - processor,
    }
    if cuda:
        spent["memory_gb"] = (torch.cuda.max_memory_allocated() - model_memory) / 1e9
    return spent, table


def compare(vlm, samples, batch_size: int, repeats: int) -> list[dict]:
    """One row a method: its best figures for these questions and as ratios to the forward pass."""
    spent: dict[str, list[dict]] = {method: [] for method in METHODS}
    tables = {}
    run_once("measure", vlm, samples[:1], batch_size)
    for _ in range(repeats):
        for method, results in spent.items():
            result, tables[method] = run_once(method, vlm, samples, batch_size)
            results.append(result)
    best = {m: pd.DataFrame(results).min().to_dict() for m, results in spent.items()}
    for method, row in best.items():
        for key in ("wall", "processor"):
            row[f"{key}_ratio"] = row[f"{key}_s"] / best["forward"][f"{key}_s"]
        row["wall_s_per_1000"] = row["wall_s"] / len(samples) * 1000
        if method != "forward":
            for column in ("rid", "mixig"):
                distance = tables[method][column] - tables["straight"][column]
                row[f"{column}_error"] = float(distance.abs().max())
    return [{"model": vlm.name, "method": method, **row} for method, row in best.items()]


def prepared_case(model: str, shape: str | None, questions: int) -> tuple:
    """The model and its questions."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if shape is None:
        vlm = load(model, device=device)
        return vlm, list(load_benchmark("pope").draw(questions, seed=SEED))
    tokens, layers, features = map(int, shape.split("x"))
    return random_decoder(proportioned(layers, features), device), [
        random_words(tokens)
    ] * questions


def main(
    output: Annotated[Path, typer.Option(help="Where the JSON with all figures goes.")],
    model: Annotated[str, typer.Option(help="A trained model.")] = "small-qwen2.5-vl",
    shape: Annotated[
        str | None, typer.Option(help="Random weights instead: TOKENSxLAYERSxFEATURES.")
    ] = None,
    questions: Annotated[int, typer.Option(min=1, help="How many are asked.")] = 100,
    batch_size: Annotated[int, typer.Option(min=1, help="Questions at a time.")] = 8,
    repeats: Annotated[int, typer.Option(min=1, help="Runs of each method.")] = 3,
    threads: Annotated[int, typer.Option(min=1, help="Processor threads.")] = 2,
) -> None:
    """Measure `measure` beside the model alone and a straight reading of the definitions."""
    torch.set_num_threads(threads)
    rows = compare(*prepared_case(model, shape, questions), batch_size, repeats)
    show(rows)
    # The forward pass has no table to compare, and only a GPU says its memory.
    rows = [{k: v for k, v in row.items() if v == v} for row in rows]
    store(output, device=device_name(), questions=questions, threads=threads, rows=rows)


if __name__ == "__main__":
    typer.run(main)
