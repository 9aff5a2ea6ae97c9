"""The benchmarks, one file each: rows to samples, prompt, judging of a reply, score."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pandas as pd

from lost_in_attention.benchmarks import (
    hallusionbench,
    mathvista,
    mmmu,
    pope,
    realworldqa,
    threedsrbench,
    vmcbench,
)
from lost_in_attention.benchmarks.answers import completed
from lost_in_attention.benchmarks.base import WORLDS, Judgement, Sample, Samples
from lost_in_attention.benchmarks.scores import alike

__all__ = ["BENCHMARKS", "Benchmark", "Judgement", "Sample", "Samples", "chance", "load_benchmark"]


@dataclass(frozen=True)
class Benchmark:
    """How one benchmark is read, put, judged and scored; `hub` is its own repository.

    `weights` are those of the questions in its accuracy: their weighted mean of `correct` is what
    `score` calls accuracy.
    `judges` are the rules that tell what a reply says: "strict", ours, and where the benchmark's
    authors publish a script that does so, "official".
    """

    hub: str
    load: Callable[..., Samples]
    prompt: Callable[[Mapping], str]
    judges: Mapping[str, Callable[[str, Sample], Judgement]]
    score: Callable[[pd.DataFrame], dict[str, float]]
    weights: Callable[[pd.DataFrame], pd.Series] = alike

    def judge(
        self, reply: str, sample: Sample, *, finished: bool = True, judging: str = "strict"
    ) -> Judgement:
        """What a reply was understood as, and whether that is right.

        `finished` is whether the reply ended by itself.  Of one that was cut the strict rule takes
        nothing but a closed <answer> tag; the official scripts do not know of cuts.
        Raises ValueError if the benchmark has no judge called `judging`.
        """
        if judging not in self.judges:
            raise ValueError(
                f"judging: expected one of {list(self.judges)} for this benchmark, got {judging!r}"
            )
        if judging == "strict" and not finished:
            reply = completed(reply)
        return self.judges[judging](reply, sample)


def _benchmark(module: ModuleType) -> Benchmark:
    judges = {"strict": module.judge}
    if hasattr(module, "official"):
        judges["official"] = module.official
    weights = getattr(module, "weights", alike)
    return Benchmark(
        module.PUBLISHED.hub, module.load, module.prompt, judges, module.score, weights
    )


BENCHMARKS = {
    module.PUBLISHED.key: _benchmark(module)
    for module in (pope, realworldqa, threedsrbench, mmmu, vmcbench, hallusionbench, mathvista)
}


def load_benchmark(name: str, source: str | Path = "digits", split: str | None = None) -> Samples:
    """The samples of a benchmark.

    `source` is "digits" or "pictures" for an embedded set, "hub" for the original's own
    repository, a folder of Parquet files (or of a folder for each benchmark, named as it is), or
    another hub id; `split` is the one that the paper uses if not named.

    Raises:
        ValueError: an unknown benchmark or split, a missing column, an empty set, a value of the
            wrong kind; later, when a sample is asked for, a picture or an answer that cannot be
            read.
        FileNotFoundError: a folder without such a split.
    """
    if name not in BENCHMARKS:
        raise ValueError(f"name: expected one of {sorted(BENCHMARKS)}, got {name!r}")
    own = Path(source) / name
    if source not in (*WORLDS, "hub") and own.is_dir():
        source = own
    return BENCHMARKS[name].load(source, split)


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
