"""Time, memory and agreement of the metrics beside a straight reading of the definitions.

One run measures two updates of one layer, X_in -> X_attn -> X_ffn: RID of each, and MixIG of
each from the TME of the three states.  `straight` does for every update what the definitions
say, with torch.linalg.svd; `engine` is the library; `eigenvalues` are those of the three states'
Gram matrices and nothing else, the least that effective rank takes.  Every run is a process of its
own, the methods take turns, and the smallest of the repeats counts, so that other work on the
machine falls on all of them alike.

Seconds are wall-clock and processor time (of all threads).  Memory is the growth of the
process's high-water mark (ru_maxrss) from the moment when the float32 states are loaded and a
tiny run has warmed the libraries up.

    python speed/metrics.py --output metrics.json
"""

import json
import resource
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from common import SEED, printed_apart, show, store
from torch import Tensor
from tqdm import tqdm

from lost_in_attention.metrics.rid import NUMERICAL_RANK, spectrum, update_geometry

# Tokens, features, and the exponent by which the scale of the features falls.  The steep one
# has directions under the numerical cut-off, which the engine must take another way.
CASES = [(90, 128, 0.5), (600, 1024, 0.5), (600, 1024, 2.0), (1400, 3584, 0.5)]
Values = list[float]


def residual_states(tokens: int, features: int, decay: float) -> list[np.ndarray]:
    """X_in, X_attn, X_ffn in float32: features of falling scale around one common direction."""
    generator = np.random.default_rng(SEED)
    scale = np.arange(1, features + 1) ** -decay
    states = [(generator.normal(size=(tokens, features)) + 0.5) * scale]
    for size, common in ((0.1, 0.2), (0.3, 0.0)):
        noise = generator.normal(size=(tokens, features)) + common
        states.append(states[-1] + size * noise * generator.permutation(scale) + common * scale)
    return [state.astype(np.float32) for state in states]


def engine(states: list[Tensor]) -> Values:
    """The library: every state decomposed once, its Gram matrix shared with TME."""
    values, before = [], None
    for state in states:
        after = spectrum(state)
        if before is not None:
            rid = update_geometry(before, after).rid.total
            values += [rid, after.mixing_entropy - before.mixing_entropy]
        before = after
    return values


def straight(states: list[Tensor]) -> Values:
    """Defs 3.3-3.8 for one update after another, in the precision of the states."""
    values = []
    for before, after in pairwise(states):
        values += [straight_rid(before, after), straight_tme(after) - straight_tme(before)]
    return values


def straight_rid(before: Tensor, after: Tensor) -> float:
    """RID from two singular value decompositions and the two projectors as matrices."""
    left, values_before, right = torch.linalg.svd(before, full_matrices=False)
    _, values_after, _ = torch.linalg.svd(after, full_matrices=False)
    rank = NUMERICAL_RANK(values_before, before.shape)
    left, right = left[:, :rank], right[:rank]
    tokens_left = (after - left @ left.T @ after).norm()
    features_left = (after - after @ (right.T @ right)).norm()
    change = abs(straight_erank(values_after) - straight_erank(values_before))
    return float(change / min(before.shape) + (tokens_left + features_left) / (2 * after.norm()))


def straight_erank(singular_values: Tensor) -> Tensor:
    p = singular_values / singular_values.sum()
    return torch.exp(-torch.xlogy(p, p).sum())


def straight_tme(x: Tensor) -> float:
    unit = x / x.norm(dim=1, keepdim=True)
    weights = ((unit @ unit.T + 1) / 2).clamp(min=0)
    p = weights / weights.sum(dim=1, keepdim=True)
    return float(-torch.xlogy(p, p).sum(dim=1).mean())


def eigenvalues(states: list[Tensor]) -> Values:
    """The eigenvalues of each state's smaller Gram matrix; nothing is made of them."""
    for state in states:
        wide = (state if len(state) <= state.shape[1] else state.T).double()
        torch.linalg.eigvalsh(wide @ wide.T)
    return []


METHODS: dict[str, Callable[[list[Tensor]], Values]] = {
    "engine": engine,
    "eigenvalues": eigenvalues,
    "straight fp64": lambda states: straight([state.double() for state in states]),
    "straight fp32": straight,
}


def run_here(method: str, states_file: str, threads: int) -> None:
    """Two runs in this process, the second one timed; prints the results as JSON.

    Layer follows layer in one process, so what counts is the pace once memory is in place.
    """
    torch.set_num_threads(threads)
    METHODS[method]([torch.from_numpy(x) for x in residual_states(8, 16, 0.5)])
    with np.load(states_file) as stored:
        states = [torch.from_numpy(stored[name]) for name in stored.files]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    METHODS[method](states)
    wall, processor = time.perf_counter(), time.process_time()
    values = METHODS[method](states)
    result = {
        "wall_s": time.perf_counter() - wall,
        "processor_s": time.process_time() - processor,
        "memory_mb": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / 1024,
        "values": values,
    }
    print(json.dumps(result))


def run_apart(method: str, states_file: Path, threads: int) -> dict:
    """`run_here` in a fresh process."""
    call = f"import metrics; metrics.run_here({method!r}, {str(states_file)!r}, {threads})"
    return json.loads(printed_apart(call, OMP_NUM_THREADS=str(threads)))


def compare(tokens: int, features: int, decay: float, repeats: int, threads: int) -> list[dict]:
    """One row a method: its best times, its memory, its distance from straight fp64."""
    runs: dict[str, list[dict]] = {method: [] for method in METHODS}
    with tempfile.TemporaryDirectory() as folder:
        states_file = Path(folder) / "states.npz"
        np.savez(states_file, *residual_states(tokens, features, decay))
        with tqdm(
            total=repeats * len(METHODS), desc=f"{tokens} x {features}, decay {decay}"
        ) as bar:
            for _ in range(repeats):
                for method, results in runs.items():
                    results.append(run_apart(method, states_file, threads))
                    bar.update()
    reference = runs["straight fp64"][0]["values"]
    engine_times = _best(runs["engine"])
    return [
        {
            "tokens": tokens, "features": features, "decay": decay, "method": method,
            **_best(results),
            "wall_ratio": _best(results)["wall_s"] / engine_times["wall_s"],
            "processor_ratio": _best(results)["processor_s"] / engine_times["processor_s"],
            "memory_mb": max(result["memory_mb"] for result in results),
            **_errors(results[0]["values"], reference),
        }
        for method, results in runs.items()
    ]  # fmt: skip


def _best(results: list[dict]) -> dict[str, float]:
    return {key: min(result[key] for result in results) for key in ("wall_s", "processor_s")}


def _errors(values: Values, reference: Values) -> dict[str, float]:
    """How far RID and MixIG are from the reference; nothing for a method without them."""
    if not values:
        return {}
    return {
        "rid_error": _distance(values[::2], reference[::2]),
        "mixig_error": _distance(values[1::2], reference[1::2]),
    }


def _distance(values: Values, reference: Values) -> float:
    return max(abs(a - b) for a, b in zip(values, reference, strict=True))


def main(
    output: Annotated[Path, typer.Option(help="Where the JSON with all figures goes.")],
    repeats: Annotated[int, typer.Option(min=1, help="Runs of each method.")] = 3,
    threads: Annotated[int, typer.Option(min=1, help="Threads of each run.")] = 2,
    largest: Annotated[int, typer.Option(help="Leave out cases of more tokens.")] = 1400,
) -> None:
    """Measure the metrics beside a straight reading of the definitions."""
    rows = []
    for tokens, features, decay in CASES:
        if tokens <= largest:
            rows += compare(tokens, features, decay, repeats, threads)
    show(rows)
    store(output, device="cpu", threads=threads, rows=rows)


if __name__ == "__main__":
    typer.run(main)
