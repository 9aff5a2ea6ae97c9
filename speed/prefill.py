"""Time and memory of a whole prompt under a shared prior, beside the decoder as it is.

One run sends a prompt, nine tenths of its tokens visual, through a decoder of random weights with
Qwen2.5-7B's proportions, in one pass that fills its cache:

- sdpa: the model's own attention, nothing replaced,
- band: the heads of the paper's preset replaced in all layers,
- heads: all heads replaced in all layers.

The tower is tiny, and the prior is `uniform`, which reads no image: what is compared is the decoder
alone.  All of its layers are alike, so one tells the ratio for many; `--layers` says how many.
The methods take turns in one process, and ratios are medians over turns with 95% intervals.
Memory is what the pass takes beyond the model: on a GPU its allocator's peak, else the growth of a
fresh process's high-water mark (ru_maxrss).

    python speed/prefill.py --output speed/results/prefill.json
    python speed/prefill.py --layers 28 --output prefill-gpu.json
"""

import json
import resource
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import typer
from common import (
    PATCH,
    SEED,
    RandomDecoder,
    printed_apart,
    proportioned,
    random_decoder,
    show,
    store,
)
from torch.utils.benchmark import timer
from transformers import BatchFeature

from lost_in_attention.runs.provenance import device as device_name
from lost_in_attention.runs.timing import LEAST_ROUNDS, timed_ratios
from lost_in_attention.sap import SharedAttentionPrior, paper, shared_attention_prior

VISUAL_SHARE = 0.9
METHODS = ("sdpa", "band", "heads")


def words_beside(side: int) -> int:
    """The words before the image, and as many behind it."""
    return round(side**2 * (1 / VISUAL_SHARE - 1) / 2)


def prompt(vlm: RandomDecoder, side: int) -> BatchFeature:
    """Words, side x side visual tokens with their image, and words."""
    random = torch.Generator().manual_seed(SEED)
    text = torch.randint(10, 1000, (2, words_beside(side)), generator=random)
    image = torch.full((side**2,), vlm.model.config.image_token_id)
    ids = torch.cat([text[0], image, text[1]])[None]
    pixels = torch.zeros(1, 3, side * PATCH, side * PATCH, dtype=vlm.model.dtype)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixels}
    return BatchFeature(inputs).to(vlm.device)


def plan(method: str, layers: int) -> SharedAttentionPrior | None:
    heads = {"sdpa": None, "band": paper("qwen2.5-vl").heads, "heads": (0.0, 1.0)}[method]
    return heads and SharedAttentionPrior("uniform", (0, layers - 1), heads)


@torch.inference_mode()
def run(vlm: RandomDecoder, method: str, inputs: BatchFeature) -> None:
    chosen = plan(method, len(vlm.layers))
    with shared_attention_prior(vlm, chosen) if chosen else nullcontext(vlm) as changed:
        changed.model(**inputs, use_cache=True, logits_to_keep=1)
    if vlm.device.type == "cuda":
        torch.cuda.synchronize()


def model(layers: int, features: int, side: int) -> RandomDecoder:
    where = "cuda" if torch.cuda.is_available() else "cpu"
    return random_decoder(proportioned(layers, features), where, side=side)


def print_memory(method: str, layers: int, features: int, side: int, threads: int) -> None:
    """Print the memory in MB that one pass takes beyond the model."""
    torch.set_num_threads(threads)
    vlm = model(layers, features, side)
    inputs = prompt(vlm, side)
    before = _peak_memory(vlm, reset=True)
    run(vlm, method, inputs)
    print(json.dumps((_peak_memory(vlm) - before) / 2**20))


def _peak_memory(vlm: RandomDecoder, *, reset: bool = False) -> int:
    """The peak in bytes; with `reset` on a GPU what is held now."""
    if vlm.device.type == "cpu":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if reset:
        torch.cuda.reset_peak_memory_stats()
    return torch.cuda.max_memory_allocated()


def compare(layers: int, features: int, side: int, rounds: int, threads: int) -> list[dict]:
    """One row a method: its time over that of sdpa, and its memory."""
    torch.set_num_threads(threads)
    memory = {}
    for method in METHODS:
        call = f"import prefill; prefill.print_memory{(method, layers, features, side, threads)!r}"
        memory[method] = json.loads(printed_apart(call, OMP_NUM_THREADS=str(threads)))
    vlm = model(layers, features, side)
    inputs = prompt(vlm, side)
    calls: dict[str, Callable[[], None]] = {m: partial(run, vlm, m, inputs) for m in METHODS}
    begin = timer()
    calls["sdpa"]()
    seconds = timer() - begin
    pairs = [(method, "sdpa") for method in METHODS[1:]]
    ratios = timed_ratios(calls, pairs, rounds=rounds)
    rows = [{"method": "sdpa", "seconds": seconds, "time_ratio": 1.0, "memory_mb": memory["sdpa"]}]
    return rows + [
        {"method": method, "time_ratio": ratio.median, "ratio_low": ratio.low,
         "ratio_high": ratio.high, "memory_mb": memory[method]}
        for (method, _), ratio in zip(pairs, ratios, strict=True)
    ]  # fmt: skip


def main(
    output: Annotated[Path, typer.Option(help="Where the JSON with all figures goes.")],
    layers: Annotated[int, typer.Option(min=1, help="Layers of the decoder.")] = 1,
    features: Annotated[int, typer.Option(min=128, help="Its features.")] = 3584,
    side: Annotated[int, typer.Option(min=2, help="Visual tokens on a side of the image.")] = 61,
    rounds: Annotated[int, typer.Option(min=LEAST_ROUNDS, help="Turns of the methods.")] = 6,
    threads: Annotated[int, typer.Option(min=1, help="Processor threads.")] = 2,
) -> None:
    """Measure a whole prompt under a shared prior."""
    rows = compare(layers, features, side, rounds, threads)
    show(rows)
    shape = {"tokens": side**2 + 2 * words_beside(side), "visual": side**2}
    shape |= {"layers": layers, "features": features}
    store(output, device=device_name(), threads=threads, shape=shape, rows=rows)


if __name__ == "__main__":
    typer.run(main)
