"""The benchmarks, one file each: rows to samples, prompt, judging of a reply, score."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from lost_in_attention.benchmarks import (
    hallusionbench,
    mathvista,
    mmmu,
    pope,
    realworldqa,
    threedsrbench,
    vmcbench,
)
from lost_in_attention.benchmarks.base import Judgement, Sample, Samples
from lost_in_attention.benchmarks.benchmark import BENCHMARKS, BUILT_IN, Benchmark, register

__all__ = [
    "BENCHMARKS",
    "Benchmark",
    "Judgement",
    "Sample",
    "Samples",
    "chance",
    "load_benchmark",
    "register",
]


# In the order of the book's tables.
for _module in (pope, realworldqa, threedsrbench, mmmu, vmcbench, hallusionbench, mathvista):
    register(_module.BENCHMARK)
BUILT_IN.update(BENCHMARKS)


def load_benchmark(name: str, source: str | Path = "digits", split: str | None = None) -> Samples:
    """The samples of a benchmark.

    `source` is "digits" or "pictures" for an embedded set, "hub" for the original's own
    repository, a folder of Parquet files (or of a folder for each benchmark, named as it is), or
    another hub id; `split` is the one that the paper uses if not named.

    Raises:
        ValueError: an unknown benchmark or split, an empty source, a benchmark without an embedded
            set or without a repository, a missing column, an empty set, a value of the wrong kind;
            later, when a sample is asked for, a picture or an answer that cannot be read.
        FileNotFoundError: a folder without such a split.
    """
    if name not in BENCHMARKS:
        raise ValueError(f"name: expected one of {sorted(BENCHMARKS)}, got {name!r}")
    return BENCHMARKS[name].samples(source, split)


def chance(samples: Sequence[Sample]) -> float:
    """The accuracy of guessing without looking.

    A guess among the options, or between yes and no; for open questions, whose answers are
    countless, the commonest answer to the benchmark's open questions.

    Raises ValueError if there are no samples.
    """
    if not samples:
        raise ValueError("samples: expected at least one, got none")
    asked = [(len(sample.options), sample.answer) for sample in samples]
    answers = Counter(answer for options, answer in asked if not options)
    guessed = max(answers.values(), default=0)
    if set(answers) <= {"yes", "no"}:
        guessed = 0.5 * answers.total()
    return (guessed + sum(1 / options for options, _ in asked if options)) / len(asked)
