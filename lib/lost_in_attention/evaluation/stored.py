"""Results that are kept: one Parquet file a model, and a JSON file that says how it was made.

Several runs may share a file, each with benchmarks of its own: then the JSON file lists them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from lost_in_attention.benchmarks.base import WORLDS
from lost_in_attention.evaluation.grid import Variant
from lost_in_attention.models.registry import folder_name
from lost_in_attention.runs.paths import data_folder
from lost_in_attention.runs.provenance import Scalar, made_by, without_folders
from lost_in_attention.runs.tables import read_table, write_table
from lost_in_attention.sap.registry import identities

# What is varied: prior and preset, or the place.
GRIDS = ("default", "ablations")


def results_path(model: str, grid: str, folder: Path | None = None) -> Path:
    """<folder>/sap-<model>.parquet, or sap-ablations-<model>.parquet; data/results by default.

    Raises ValueError on an unknown grid.
    """
    if grid not in GRIDS:
        raise ValueError(f"grid: expected one of {list(GRIDS)}, got {grid!r}")
    prefix = "sap" if grid == "default" else "sap-ablations"
    return (folder or data_folder() / "results") / f"{prefix}-{folder_name(model)}.parquet"


@dataclass(frozen=True)
class Results:
    """The file of results at `path`, and what all of its answers share.

    `weights` is the `provenance.weights_digest` of the model, `options` are those of the command
    that makes the same answers again, `commit` is the model's (`settings.commit_of`).
    """

    path: Path
    weights: str
    variants: Sequence[Variant]
    options: Mapping[str, Scalar]
    commit: Mapping[str, str] = field(default_factory=dict)
    started: datetime = field(default_factory=lambda: datetime.now(UTC))

    def check(self, benchmarks: Sequence[str]) -> None:
        """Raise ValueError if answers to other benchmarks lie there that were made otherwise."""
        kept, origin = self._kept(benchmarks)
        other = [name for name, value in self._shared().items() if origin.get(name) != value]
        if kept is not None and other:
            raise ValueError(
                f"output: expected answers made alike in {self.path}, got other "
                f"{', '.join(other)} of {', '.join(kept['benchmark'].unique())}; "
                "choose another folder, or ask those benchmarks again too"
            )

    def write(self, table: pd.DataFrame) -> None:
        """Put the answers in place of older ones to the same benchmarks.

        Raises ValueError as `check` does.
        """
        asked = table["benchmark"].unique().tolist()
        self.check(asked)
        kept, origin = self._kept(asked)
        runs = [self._run(table)]
        if kept is not None:
            table = pd.concat([kept, table], ignore_index=True)
            runs = [*_without(origin["runs"], asked), *runs]
        write_table(self.path, table, self._shared() | {"runs": runs})

    def _kept(self, asked: Sequence[str]) -> tuple[pd.DataFrame | None, dict[str, Any]]:
        """The answers that lie there to other benchmarks than those asked, if there are any."""
        # What is replaced whole need not fit its origin.
        if not self.path.exists() or _benchmarks(self.path) <= set(asked):
            return None, {}
        table, origin = read_table(self.path)
        return table[~table["benchmark"].isin(asked)], origin

    def _shared(self) -> dict[str, Any]:
        return {
            "weights": self.weights,
            **facts_of(self.variants),
            "tier": "book" if self.options["source"] in WORLDS else "paper",
            "decoding": self.options["decoding"],
            "prompt": self.options["prompt"],
        }

    def _run(self, table: pd.DataFrame) -> dict[str, Any]:
        """Where these answers come from."""
        return {
            "benchmarks": table["benchmark"].unique().tolist(),
            "questions": len(table.drop_duplicates(["benchmark", "sample"])),
            **self.commit,
            **made_by("sap", self.options, self.started),
        }


def facts_of(variants: Sequence[Variant]) -> dict[str, Any]:
    """What tells variants apart, for the files of their answers.

    Priors that a reader registered are told by more than their names.
    Raises ValueError on one that its source does not tell apart.
    """
    facts: dict[str, Any] = {"variants": [variant.description for variant in variants]}
    priors = identities(variant.plan.mode for variant in variants if variant.plan)
    return facts | ({"priors": priors} if priors else {})


def read_results(
    models: Sequence[str], grid: str = "default", folder: Path | None = None
) -> tuple[pd.DataFrame | None, dict[str, dict]]:
    """The stored answers of those models that have some (None if none has), and each one's origin.

    Raises ValueError on an unknown grid, or answers that are not those that their origin is about.
    """
    found = {}
    for model in models:
        path = results_path(model, grid, folder)
        if path.exists():
            found[str(without_folders(model))] = read_table(path)
    tables = [table for table, _ in found.values()]
    origins = {model: origin for model, (_, origin) in found.items()}
    return pd.concat(tables, ignore_index=True) if tables else None, origins


def run_of(origin: Mapping[str, Any], benchmark: str) -> dict[str, Any] | None:
    """The run that a benchmark's answers come from, of an origin that `read_results` gives."""
    runs = [run for run in origin["runs"] if benchmark in run["benchmarks"]]
    return runs[0] if runs else None


def _benchmarks(path: Path) -> set[str]:
    try:
        return set(pd.read_parquet(path, columns=["benchmark"])["benchmark"])
    except (OSError, ValueError) as error:
        raise ValueError(f"output: expected answers or nothing in {path}, got: {error}") from error


def _without(runs: Sequence[dict], asked: Sequence[str]) -> list[dict]:
    """The runs that still have answers when those to the benchmarks asked are gone."""
    left = [
        run | {"benchmarks": [name for name in run["benchmarks"] if name not in asked]}
        for run in runs
    ]
    return [run for run in left if run["benchmarks"]]
