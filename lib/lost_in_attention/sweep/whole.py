"""One model through every benchmark and variant, into one file of results."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import torch
from accelerate import PartialState

from lost_in_attention.benchmarks import BENCHMARKS, load_benchmark
from lost_in_attention.models import VisionLanguageModel, load
from lost_in_attention.provenance import weights_digest
from lost_in_attention.sweep.running import answer_under
from lost_in_attention.sweep.stored import GRIDS, results_path, write_results
from lost_in_attention.sweep.variants import PRESETS, Variant, ablations, family_of, presets


@dataclass(frozen=True)
class Sweep:
    """What is asked for; the fields are the options of the command `sap`.

    `benchmarks` and `preset` are names parted by commas, or "all" and "both"; `where` is the grid,
    "default" or "ablations" (`preset` and `noise_seeds` are the former's alone).  `questions` are
    drawn from each benchmark, all where it has no more.

    Raises ValueError on an unknown name or a number that is too small.
    """

    model: str
    source: str = "digits"
    benchmarks: str = "all"
    questions: int = 1000
    preset: str = "both"
    noise_seeds: int = 3
    where: str = "default"
    seed: int = 0
    batch_size: int = 50

    def __post_init__(self) -> None:
        _names("benchmarks", self.benchmarks, "all", BENCHMARKS)
        _names("preset", self.preset, "both", PRESETS)
        if self.where not in GRIDS:
            raise ValueError(f"where: expected one of {list(GRIDS)}, got {self.where!r}")
        for name in ("questions", "noise_seeds", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if self.seed < 0:
            raise ValueError(f"seed: expected 0 or more, got {self.seed}")

    def variants(self, vlm: VisionLanguageModel) -> list[Variant]:
        """The grid for this model.  Raises ValueError if it is of no known family."""
        family, depth = family_of(vlm), len(vlm.layers)
        if self.where == "ablations":
            return ablations(family, depth=depth)
        names = _names("preset", self.preset, "both", PRESETS)
        return presets(family, depth=depth, noise_seeds=self.noise_seeds, names=names)

    def run(self, *, runs: Path, output: Path) -> Path | None:
        """Answer everything, or what a broken-off run left, and write the file of results.

        Unfinished answers lie in `runs`, one file a benchmark; results go to `output`.  Returns
        the file's path, None in all processes but the main one.
        """
        started, state = datetime.now(UTC), PartialState(cpu=not torch.cuda.is_available())
        path = results_path(self.model, self.where, output)
        vlm = load(self.model, device=state.device)
        variants = self.variants(vlm)
        tables = []
        for benchmark in _names("benchmarks", self.benchmarks, "all", BENCHMARKS):
            samples = load_benchmark(benchmark, self.source)
            table = answer_under(
                vlm,
                samples.draw(min(self.questions, len(samples)), seed=self.seed),
                benchmark=benchmark,
                variants=variants,
                batch_size=self.batch_size,
                output=runs / f"{path.stem}-{benchmark}.jsonl",
                resume=True,
            )
            tables.append(table)
        if not state.is_main_process:
            return None
        table = pd.concat(tables, ignore_index=True)
        write_results(
            table,
            path,
            options=vars(self),
            weights=weights_digest(vlm.model),
            variants=variants,
            started=started,
        )
        return path


def _names(option: str, chosen: str, everything: str, known: Sequence[str]) -> list[str]:
    """The names in a comma-separated list; `everything` stands for all that are known."""
    if chosen == everything:
        return list(known)
    names = [name.strip() for name in chosen.split(",")]
    if not set(names) <= set(known) or len(set(names)) < len(names):
        raise ValueError(
            f"{option}: expected {everything!r} or different names among {list(known)}, "
            f"got {chosen!r}"
        )
    return names
