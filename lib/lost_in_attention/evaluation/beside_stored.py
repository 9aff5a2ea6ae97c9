"""Answers computed on a page beside stored ones, and which of them a number comes from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lost_in_attention.benchmarks import BENCHMARKS, Samples, load_benchmark
from lost_in_attention.evaluation.stored import read_results, run_of
from lost_in_attention.models.shipped import own_source
from lost_in_attention.runs.provenance import without_folders

_KEY = ["benchmark", "sample", "preset", "variant", "noise_seed"]
_PLACE = ["first_layer", "last_layer", "low_head", "high_head"]


def draw_as_stored(
    model: str,
    benchmark: str,
    source: str,
    *,
    grid: str = "default",
    count: int,
    seed: int,
    folder: Path | None = None,
) -> Samples:
    """`count` questions (or all, if there are fewer), from those of the stored run if there is one.

    The source "own" is the world that the model was trained on.

    Raises what `own_source`, `load_benchmark` and `read_results` do.
    """
    samples = load_benchmark(benchmark, own_source(model, source))
    _, origins = read_results([model], grid, folder)
    for origin in origins.values():
        if run := run_of(origin, benchmark):
            options = run["options"]
            samples = samples.draw(min(options["questions"], len(samples)), seed=options["seed"])
    return samples.draw(min(count, len(samples)), seed=seed)


@dataclass(frozen=True)
class Answers:
    """Stored answers where there are some, else those just computed.

    `origins` are those of the stored ones by model, `missing` the models without either, `equal`
    says in words how many live answers equal stored ones.
    """

    table: pd.DataFrame
    origins: Mapping[str, dict]
    missing: Sequence[str]
    equal: str

    @property
    def models(self) -> list[str]:
        """The models that have answers, in the order of the table."""
        return self.table["model"].unique().tolist()

    @property
    def whole(self) -> bool:
        """Whether every model that was named has answers to every embedded benchmark."""
        asked = self.table.groupby("model")["benchmark"].agg(set)
        embedded = {name for name, benchmark in BENCHMARKS.items() if benchmark.embedded}
        return not self.missing and all(each >= embedded for each in asked)

    def made_by(self) -> pd.DataFrame:
        """One row a model: where its answers come from, how many, since when."""
        rows = []
        for name, own in self.table.groupby("model", sort=False):
            runs = self.origins[name]["runs"] if name in self.origins else []
            rows.append(
                {
                    "model": name,
                    "answers": "stored" if runs else "computed now",
                    "questions": len(own.drop_duplicates(["benchmark", "sample"])),
                    "finished": max((run["finished"] for run in runs), default="now"),
                }
            )
        return pd.DataFrame(rows)

    @property
    def sentence(self) -> str:
        """Which models' numbers are stored, which were just computed, which are left out."""
        stored = [name for name in self.models if name in self.origins]
        live = [name for name in self.models if name not in self.origins]
        parts = []
        if stored:
            parts.append(f"Numbers of {', '.join(stored)} are stored ones.")
        if live:
            parts.append(f"Numbers of {', '.join(live)} were just computed.")
        if self.missing:
            names = ", ".join(self.missing)
            parts.append(f"As nothing is stored for {names}, they are left out.")
        return " ".join(parts)


def with_stored(
    live: pd.DataFrame, names: Sequence[str], grid: str = "default", folder: Path | None = None
) -> Answers:
    """The stored answers of the models `names`, and `live` ones of models without any.

    Raises ValueError on an unknown grid.
    """
    stored, origins = read_results(names, grid, folder)
    if stored is None:
        table, equal = live, "nothing is stored to compare with"
    else:
        table = pd.concat([stored, live[~live["model"].isin(origins)]], ignore_index=True)
        equal = _equal(live, stored)
    asked = [str(without_folders(name)) for name in names]
    missing = [name for name in asked if name not in set(table["model"])]
    return Answers(table, origins, missing, equal)


def _equal(live: pd.DataFrame, stored: pd.DataFrame) -> str:
    key = ["model", *_KEY, *(column for column in _PLACE if column in live and column in stored)]
    both = live.merge(stored, on=key, suffixes=("", "_stored"))
    if both.empty:
        return "nothing is stored to compare with"
    share = (both["reply"] == both["reply_stored"]).mean()
    return f"{100 * share:.2f}% of {len(both)} answers are equal"
