"""A benchmark: how its rows are read, put, judged and scored; and all of them by name."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lost_in_attention.benchmarks.answers import completed
from lost_in_attention.benchmarks.base import WORLDS, Judgement, Sample, Samples
from lost_in_attention.benchmarks.scores import alike, plain

_NAME = re.compile(r"[^\W_][\w.-]*")


@dataclass(frozen=True)
class Benchmark:
    """How one benchmark is read, put, judged and scored.

    `load(source, split)` gives its samples, `prompt(row)` what a model reads of a row.
    `judges` are the rules that tell what a reply says: "strict", ours, and where the benchmark's
    authors publish a script that does so, "official".
    `score` boils a table of judged replies down.  `weights` are those of the questions in its
    accuracy: their weighted mean of `correct` is what `score` calls accuracy.
    `hub` is its own repository, and `embedded` says whether the library brings sets of its form.

    Raises ValueError if there is no strict judge.
    """

    name: str
    load: Callable[[str | Path, str | None], Samples]
    prompt: Callable[[Mapping], str]
    judges: Mapping[str, Callable[[str, Sample], Judgement]]
    score: Callable[[pd.DataFrame], dict[str, float]] = plain
    weights: Callable[[pd.DataFrame], pd.Series] = alike
    hub: str | None = None
    embedded: bool = False

    def __post_init__(self) -> None:
        if "strict" not in self.judges:
            raise ValueError(f"judges: expected one called 'strict', got {list(self.judges)}")

    def samples(self, source: str | Path, split: str | None = None) -> Samples:
        """What `load` gives; `source` as `load_benchmark` takes it.

        Raises what `load` does, and ValueError where there is no embedded set or no repository, or
        no source is named.
        """
        if not str(source).strip():
            raise ValueError(f"source: expected a name, a folder or a hub id, got {source!r}")
        if str(source) in (*WORLDS, "hub"):
            source = str(source)
        if not self.has(source):
            raise ValueError(
                f"source: expected another one for {self.name}, which has no "
                f"{'embedded set' if source in WORLDS else 'repository'}, got {source!r}"
            )
        own = Path(source) / self.name
        if source not in (*WORLDS, "hub") and own.is_dir():
            source = own
        return self.load(source, split)

    def has(self, source: str | Path) -> bool:
        """Whether there is an embedded set, or a repository, where `source` asks for it."""
        if str(source) in WORLDS:
            return self.embedded
        return str(source) != "hub" or self.hub is not None

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


BENCHMARKS: dict[str, Benchmark] = {}
# The names of those that the library brings.
BUILT_IN: set[str] = set()
# What options call several at once.
_SEVERAL = ("all", "both")


def register(benchmark: Benchmark) -> None:
    """Make a benchmark known by its name, wherever one is asked for.

    One of your own may be registered again, as a cell of a notebook does when it is run again.

    Raises ValueError on the name of one that the library brings, a name that `check_name` refuses,
    or what is no benchmark.
    """
    if not isinstance(benchmark, Benchmark):
        raise ValueError(f"benchmark: expected a Benchmark, got {benchmark!r}")
    check_name(benchmark.name)
    if benchmark.name in BUILT_IN:
        raise ValueError(
            "name: expected another than that of a benchmark of the library, "
            f"got {benchmark.name!r}"
        )
    BENCHMARKS[benchmark.name] = benchmark


def check_name(name: str) -> None:
    """Raise ValueError unless a reader's addition can be told by `name` in options and files."""
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name in _SEVERAL:
        raise ValueError(
            "name: expected letters, digits, '_', '-' and '.', the first of them a letter or a "
            f"digit, other than {', '.join(_SEVERAL)}, got {name!r}"
        )
