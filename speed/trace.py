"""Time and memory of `trace` beside the model alone and beside maps that are all kept.

Two measurements:

- time: POPE questions from images and words to edges, by the model alone (`forward`), by the
  library (`trace`), and by eager attention whose maps are all kept and then cut down
  (`all maps`).  The methods take turns and the smallest of the repeats counts.
- memory: one prompt of a random decoder in a process of its own, for several numbers of heads
  and layers at one width.  It is the growth of the process's high-water mark (ru_maxrss) from
  the moment when the model is built and a tiny prompt has warmed the libraries up, with an
  allocator that gives freed blocks back at once.

    python speed/trace.py --output speed/results/trace.json
"""

import resource
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import torch
import typer
from common import SEED, printed_apart, random_decoder, random_words, show, store
from transformers import Qwen2Config

from lost_in_attention.benchmarks import Sample, load_benchmark
from lost_in_attention.models import VisionLanguageModel, load
from lost_in_attention.residual.measure import batches, prepared
from lost_in_attention.residual.stream import record
from lost_in_attention.trace import interaction_edges, trace

WIDTH = 512
# Heads and layers of the decoders whose memory is compared.
SHAPES = [(8, 4), (32, 4), (8, 16)]


def forward(vlm: VisionLanguageModel, samples: Sequence[Sample]) -> None:
    for batch in batches(samples, 8, "forward"):
        record(vlm, prepared(vlm, batch, "visual")[0], lambda state: None)


def library(vlm: VisionLanguageModel, samples: Sequence[Sample]) -> int:
    return len(trace(vlm, samples).edges)


@torch.inference_mode()
def all_maps(vlm: VisionLanguageModel, samples: Sequence[Sample]) -> int:
    """Eager attention that returns every head's map of every layer, cut down afterwards."""
    edges, maps = 0, []
    keep = lambda module, args, output: maps.append(output[1])  # noqa: E731
    hooks = [layer.self_attn.register_forward_hook(keep) for layer in vlm.layers]
    vlm.model.set_attn_implementation({"text_config": "eager"})
    try:
        for batch in batches(samples, 8, "all maps"):
            maps.clear()
            inputs, visual = prepared(vlm, batch, "visual")
            vlm.model.model(**inputs, use_cache=False)
            for map_ in maps:
                for weights, mask in zip(map_, visual, strict=True):
                    edges += len(interaction_edges(weights.mean(0)[mask][:, mask])[0])
    finally:
        vlm.model.set_attn_implementation({"text_config": "sdpa"})
        for hook in hooks:
            hook.remove()
    return edges


METHODS: dict[str, Callable] = {"forward": forward, "trace": library, "all maps": all_maps}


def compare_time(model: str, questions: int, repeats: int) -> list[dict]:
    """One row a method: its best seconds and how many edges it found."""
    vlm = load(model)
    samples = list(load_benchmark("pope").draw(questions, seed=SEED))
    seconds: dict[str, list[float]] = {method: [] for method in METHODS}
    edges = {}
    library(vlm, samples[:1])
    for _ in range(repeats):
        for method, spent in seconds.items():
            start = time.perf_counter()
            edges[method] = METHODS[method](vlm, samples)
            spent.append(time.perf_counter() - start)
    rows = [{"method": m, "wall_s": min(spent)} for m, spent in seconds.items()]
    # The forward pass has no edges.
    return [row | ({"edges": edges[row["method"]]} if row["method"] != "forward" else {})
            for row in rows]  # fmt: skip


def memory_here(method: str, heads: int, layers: int, tokens: int) -> None:
    """One prompt in this process; prints by how many MB the high-water mark grew."""
    torch.set_num_threads(1)
    text = Qwen2Config(
        vocab_size=1000, hidden_size=WIDTH, intermediate_size=2 * WIDTH,
        num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=heads,
    )  # fmt: skip
    vlm = random_decoder(text)
    METHODS[method](vlm, [random_words(64)])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    METHODS[method](vlm, [random_words(tokens)])
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)


def compare_memory(tokens: int) -> list[dict]:
    rows = []
    for heads, layers in SHAPES:
        for method in METHODS:
            grown = float(_run_apart(method, heads, layers, tokens))
            rows.append({"heads": heads, "layers": layers, "method": method, "memory_mb": grown})
    return rows


def _run_apart(method: str, heads: int, layers: int, tokens: int) -> str:
    """What `memory_here` prints in a fresh process."""
    call = f"import trace; trace.memory_here({method!r}, {heads}, {layers}, {tokens})"
    # glibc would keep what is freed, as it sees fit, and blur the high-water mark.
    return printed_apart(call, MALLOC_MMAP_THRESHOLD_="65536", MALLOC_TRIM_THRESHOLD_="65536")


def main(
    output: Annotated[Path, typer.Option(help="Where the JSON with all figures goes.")],
    model: Annotated[str, typer.Option(help="A trained model.")] = "small-qwen2.5-vl",
    questions: Annotated[int, typer.Option(min=1, help="How many are traced.")] = 200,
    repeats: Annotated[int, typer.Option(min=1, help="Runs of each method.")] = 3,
    tokens: Annotated[int, typer.Option(min=64, help="Length of the memory's prompt.")] = 1400,
    threads: Annotated[int, typer.Option(min=1, help="Processor threads.")] = 2,
) -> None:
    """Measure `trace` beside the model alone and beside maps that are all kept."""
    torch.set_num_threads(threads)
    # First: Linux starts a child's high-water mark at its parent's size.
    memory = compare_memory(tokens)
    spent = compare_time(model, questions, repeats)
    show(spent)
    show(memory)
    store(
        output, device="cpu", model=model, questions=questions, threads=threads, tokens=tokens,
        width=WIDTH, memory=memory, time=spent,
    )  # fmt: skip


if __name__ == "__main__":
    typer.run(main)
