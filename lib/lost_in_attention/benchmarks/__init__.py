"""The benchmarks, one file each: rows to samples, prompt, parser, score."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lost_in_attention.benchmarks import pope
from lost_in_attention.benchmarks.base import Sample, Samples

__all__ = ["BENCHMARKS", "Benchmark", "Sample", "Samples", "load_benchmark"]


@dataclass(frozen=True)
class Benchmark:
    """How one benchmark is read, parsed and scored."""

    load: Callable[[str | Path], Samples]
    parse: Callable[[str], str | None]
    score: Callable[[pd.DataFrame], dict[str, float]]


BENCHMARKS = {"pope": Benchmark(pope.load_pope, pope.parse, pope.score)}


def load_benchmark(name: str, source: str | Path = "digits") -> Samples:
    """The samples of a benchmark.

    `source` is "digits" for the embedded set, a folder of Parquet files, or a hub id.
    Raises ValueError on an unknown benchmark, a missing column or an empty set.
    """
    if name not in BENCHMARKS:
        raise ValueError(f"name: expected one of {sorted(BENCHMARKS)}, got {name!r}")
    return BENCHMARKS[name].load(source)
