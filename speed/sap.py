"""Time and memory of one layer's attention under a shared prior, beside what it replaces.

One run takes random states of one decoder layer, nine tenths of its keys visual, and computes

- eager: every score, the visual ones overwritten by the prior, mask, softmax (as the release),
- sdpa: the model's own attention, nothing replaced,
- ours: the library's way, no score of a visual key computed,

with all heads replaced, for the whole prompt (prefill) and for one further token (decode).  The
clock leaves out what serves all layers of a pass, the prior and the places of the text keys, and
before decode what the prompt left behind: its cache and our collapsed one.  Every run is a
process of its own.  The methods take turns, and ratios are taken within a turn, so that other work
on the machine falls on both; the median over turns is given with its 95% interval.

Memory is what the attention takes beyond the states: on a GPU its allocator's peak, else the
growth of the process's high-water mark (ru_maxrss).  Numbers are float32 on a CPU and bfloat16
on a GPU.

    python speed/sap.py --output speed/results/sap.json
    python speed/sap.py --device cuda --tokens 1024,4096,16384 --output sap-gpu.json
"""

import json
import resource
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Annotated

import torch
import typer
from common import SEED, printed_apart, show, store
from torch import Tensor
from torch.utils.benchmark import timer
from tqdm import tqdm
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward

from lost_in_attention.runs.provenance import device as device_name
from lost_in_attention.runs.timing import LEAST_ROUNDS, median_ratio
from lost_in_attention.sap.attention_rows import Collapsed, TextKeys, merged_rows, visual_part

# Qwen2.5-7B's attention.
HEADS, KV_HEADS, FEATURES = 28, 4, 128
SCALING = FEATURES**-0.5
VISUAL_SHARE = 0.9
PHASES = ("prefill", "decode")
TIMED_CALLS = {"prefill": 2, "decode": 20}


@dataclass(frozen=True)
class Case:
    """The states of one layer and what serves all layers; the image lies in the middle."""

    query: Tensor
    key: Tensor
    value: Tensor
    prior: Tensor
    visual: Tensor
    text: TextKeys
    kv_heads: Tensor
    collapsed: Collapsed

    @classmethod
    def random(cls, tokens: int, phase: str, device: str) -> "Case":
        generator = torch.Generator().manual_seed(SEED)
        dtype = torch.bfloat16 if device == "cuda" else torch.float32
        further = int(phase == "decode")
        shapes = ((HEADS, further or tokens), *((KV_HEADS, tokens + further),) * 2)
        query, key, value = (
            torch.randn((1, *shape, FEATURES), generator=generator).to(device, dtype)
            for shape in shapes
        )
        prior = torch.rand((1, tokens), generator=generator).to(device)
        margin = round(tokens * (1 - VISUAL_SHARE) / 2)
        visual = torch.zeros((1, tokens), dtype=torch.bool, device=device)
        visual[:, margin : tokens - margin] = True
        heads = torch.arange(HEADS, device=device)[None] // (HEADS // KV_HEADS)
        text = TextKeys.of(~visual)
        part = visual_part(value[:, :, :tokens], prior, visual, by_row=False)
        collapsed = Collapsed.of(text.take(key), text.take(value), text, part)
        return cls(query, key, value, prior, visual, text, heads, collapsed)

    @property
    def prompt(self) -> int:
        return self.visual.shape[1]


def eager(case: Case) -> Tensor:
    """The scores of all heads as a matrix, overwritten where the keys are visual."""
    groups = HEADS // KV_HEADS
    key, value = repeat_kv(case.key, groups), repeat_kv(case.value, groups)
    scores = case.query @ key.transpose(2, 3) * SCALING
    visual = case.visual[0].nonzero()[:, 0]
    scores[..., visual] = case.prior[:, visual].to(scores.dtype)
    place = torch.arange(key.shape[2], device=key.device)[-case.query.shape[2] :]
    later = torch.arange(key.shape[2], device=key.device) > place[:, None]
    mask = torch.zeros(later.shape, dtype=scores.dtype, device=key.device)
    scores = scores + mask.masked_fill_(later, torch.finfo(scores.dtype).min)
    return scores.softmax(-1, dtype=torch.float32).to(value.dtype) @ value


def sdpa(case: Case) -> Tensor:
    module = SimpleNamespace(num_key_value_groups=HEADS // KV_HEADS, is_causal=True)
    output, _ = sdpa_attention_forward(
        module, case.query, case.key, case.value, None, scaling=SCALING
    )
    return output.transpose(1, 2)


def ours(case: Case) -> Tensor:
    if case.query.shape[2] == 1:
        key, value = (states[:, :, case.prompt :] for states in (case.key, case.value))
        real = torch.ones((1, 1), dtype=torch.bool, device=key.device)
        return case.collapsed.attend(case.query, key, value, not_padding=real, scaling=SCALING)
    return merged_rows(
        case.query, case.text.take(case.key), case.text.take(case.value), case.text,
        visual_part(case.value, case.prior, case.visual, by_row=True),
        kv_heads=case.kv_heads, first=0, scaling=SCALING,
    )  # fmt: skip


METHODS: dict[str, Callable[[Case], Tensor]] = {"eager": eager, "sdpa": sdpa, "ours": ours}


@torch.inference_mode()
def run_here(method: str, phase: str, tokens: int, device: str, threads: int) -> None:
    """Warm up on a tiny case, then run in this process; prints the results as JSON."""
    torch.set_num_threads(threads)
    METHODS[method](Case.random(64, phase, device))
    case = Case.random(tokens, phase, device)
    memory = _peak_memory(device, reset=True)
    output = METHODS[method](case)
    memory = _peak_memory(device) - memory
    # A few numbers of the last row, to compare the methods by.
    values = output[0, :, -1, ::16].flatten().tolist()
    del output
    seconds = [_seconds(method, case) for _ in range(TIMED_CALLS[phase])]
    print(json.dumps({"seconds": min(seconds), "memory_mb": memory / 2**20, "values": values}))


def _seconds(method: str, case: Case) -> float:
    begin = timer()
    METHODS[method](case)
    return timer() - begin


def _peak_memory(device: str, *, reset: bool = False) -> int:
    """The peak in bytes; with `reset` what counts as none from here on."""
    if device == "cuda":
        if reset:
            torch.cuda.reset_peak_memory_stats()
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def run_apart(method: str, phase: str, tokens: int, device: str, threads: int) -> dict:
    """`run_here` in a fresh process."""
    call = f"import sap; sap.run_here{(method, phase, tokens, device, threads)!r}"
    return json.loads(printed_apart(call, OMP_NUM_THREADS=str(threads)))


def compare(tokens: int, phase: str, device: str, repeats: int, threads: int) -> list[dict]:
    """One row a method: its figures, ratios to sdpa of the same turn, distance from eager."""
    runs: dict[str, list[dict]] = {method: [] for method in METHODS}
    with tqdm(total=repeats * len(METHODS), desc=f"{phase}, {tokens} tokens") as bar:
        for _ in range(repeats):
            for method, results in runs.items():
                results.append(run_apart(method, phase, tokens, device, threads))
                bar.update()
    expected = torch.tensor(runs["eager"][0]["values"])
    rows = []
    for method, results in runs.items():
        seconds = [each["seconds"] for each in results]
        plain = [each["seconds"] for each in runs["sdpa"]]
        ratio = median_ratio([one / other for one, other in zip(seconds, plain, strict=True)])
        row = {
            "phase": phase, "tokens": tokens, "method": method, "ms": 1000 * median(seconds),
            "time_ratio": ratio.median, "ratio_low": ratio.low, "ratio_high": ratio.high,
            "memory_mb": max(each["memory_mb"] for each in results),
        }  # fmt: skip
        if method == "ours":
            distance = torch.tensor(results[0]["values"]) - expected
            row["error"] = float(distance.abs().max())
        rows.append(row)
    return rows


def main(
    output: Annotated[Path, typer.Option(help="Where the JSON with all figures goes.")],
    tokens: Annotated[str, typer.Option(help="Lengths of the prompt.")] = "1024,4096",
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    repeats: Annotated[int, typer.Option(min=LEAST_ROUNDS, help="Runs of each method.")] = 9,
    threads: Annotated[int, typer.Option(min=1, help="Threads of each run.")] = 2,
) -> None:
    """Measure one layer's attention under a shared prior."""
    lengths = [int(length) for length in tokens.split(",")]
    rows = []
    for phase in PHASES:
        for length in lengths:
            rows += compare(length, phase, device, repeats, threads)
    show(rows)
    store(
        output, device=device if device == "cpu" else device_name(),
        layer={"heads": HEADS, "key_value_heads": KV_HEADS, "features": FEATURES},
        visual_share=VISUAL_SHARE, threads=threads, rows=rows,
    )  # fmt: skip


if __name__ == "__main__":
    typer.run(main)
