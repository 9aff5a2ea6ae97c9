"""Time and memory of `trace` beside the model alone and beside maps that are all kept.

Two measurements:

- time: POPE questions from images and words to edges, by the model alone (`forward`), by the
  library (`trace`), and by eager attention whose maps are all kept and then cut down
  (`all maps`).  The methods take turns and the smallest of the repeats counts.
- memory: one prompt of a random decoder in a process of its own, for several numbers of heads
  and layers at one width.  It is the growth of the process's high-water mark (ru_maxrss) from
  the moment when the model is built and a tiny prompt has warmed the libraries up, with an
  allocator that gives freed blocks back at once.

    python benchmarks/trace.py --output benchmarks/results/trace.json
"""

import json
import os
import platform
import resource
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import pandas as pd
import torch
import typer
from metrics import processor_name
from rich.console import Console
from transformers import (
    BatchFeature,
    CLIPVisionConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    Qwen2Config,
)

from lost_in_attention.benchmarks import Sample, load_benchmark
from lost_in_attention.files import replaced_when_complete
from lost_in_attention.measure import batches, prepared
from lost_in_attention.models import VisionLanguageModel, load
from lost_in_attention.stream import record
from lost_in_attention.trace import interaction_edges, trace

SEED = 0
WIDTH = 512
# Heads and layers of the decoders whose memory is compared.
SHAPES = [(8, 4), (32, 4), (8, 16)]


class RandomDecoder(VisionLanguageModel):
    """A model of random weights whose every prompt is a number of random, visual tokens."""

    def prepare(self, images, prompts) -> BatchFeature:
        shape = (len(prompts), int(prompts[0]))
        ids = torch.randint(10, 1000, shape, generator=torch.Generator().manual_seed(SEED))
        return BatchFeature({"input_ids": ids, "attention_mask": torch.ones_like(ids)})

    def visual_mask(self, inputs: BatchFeature) -> torch.Tensor:
        return inputs["attention_mask"].bool()


def random_decoder(heads: int, layers: int) -> RandomDecoder:
    text = Qwen2Config(
        vocab_size=1000, hidden_size=WIDTH, intermediate_size=2 * WIDTH,
        num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=heads,
    )  # fmt: skip
    tower = CLIPVisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=1,
        image_size=16, patch_size=8,
    )  # fmt: skip
    torch.manual_seed(SEED)
    model = LlavaForConditionalGeneration(
        LlavaConfig(vision_config=tower, text_config=text, image_token_id=5)
    )
    return RandomDecoder(model.eval(), None, f"random, {heads} heads, {layers} layers")


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
    vlm = random_decoder(heads, layers)
    METHODS[method](vlm, [_words(64)])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    METHODS[method](vlm, [_words(tokens)])
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)


def compare_memory(tokens: int) -> list[dict]:
    rows = []
    for heads, layers in SHAPES:
        for method in METHODS:
            grown = float(_run_apart(method, heads, layers, tokens))
            rows.append({"heads": heads, "layers": layers, "method": method, "memory_mb": grown})
    return rows


def _words(tokens: int) -> Sample:
    return Sample(f"random-{tokens}", (), "", str(tokens), "", "", "random")


def _run_apart(method: str, heads: int, layers: int, tokens: int) -> str:
    """What `memory_here` prints in a fresh process."""
    call = f"import trace; trace.memory_here({method!r}, {heads}, {layers}, {tokens})"
    # glibc would keep what is freed, as it sees fit, and blur the high-water mark.
    at_once = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    finished = subprocess.run(
        [sys.executable, "-c", call],
        cwd=Path(__file__).parent, env=os.environ | at_once, capture_output=True, text=True,
    )  # fmt: skip
    if finished.returncode:
        raise RuntimeError(f"{method} failed:\n{finished.stderr}")
    return finished.stdout


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
    report = {
        "command": shlex.join(["python", "benchmarks/trace.py", *sys.argv[1:]]),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "seed": SEED, "model": model, "questions": questions, "threads": threads,
        "tokens": tokens, "width": WIDTH, "processors": os.cpu_count(),
        "processor": processor_name(), "load_average": os.getloadavg(),
        # First: Linux starts a child's high-water mark at its parent's size.
        "memory": compare_memory(tokens),
        "time": compare_time(model, questions, repeats),
    }  # fmt: skip
    console = Console(width=160)
    for rows in (report["time"], report["memory"]):
        console.print(pd.DataFrame(rows).to_string(index=False, float_format="{:.3g}".format))
    with replaced_when_complete(output) as temporary:
        temporary.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
