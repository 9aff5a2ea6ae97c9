"""One model through every benchmark and variant, into one file of results."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from accelerate import PartialState

from lost_in_attention.benchmarks import BENCHMARKS, Samples, load_benchmark
from lost_in_attention.benchmarks.base import WORLDS
from lost_in_attention.evaluation.decoding import (
    DECODINGS,
    OWN,
    decoding_for,
    prompt_for,
    prompted,
)
from lost_in_attention.evaluation.grid import PRESETS, Variant, ablations, family_of, presets
from lost_in_attention.evaluation.stored import GRIDS, Results, results_path
from lost_in_attention.evaluation.under_plans import answer_under
from lost_in_attention.models import VisionLanguageModel, load
from lost_in_attention.models.load import ATTENTIONS
from lost_in_attention.models.loading import Loading
from lost_in_attention.models.settings import commit_of
from lost_in_attention.models.shipped import OWN_WORLD, own_source
from lost_in_attention.runs.names import names_in
from lost_in_attention.runs.paths import check_writable
from lost_in_attention.runs.provenance import weights_digest


@dataclass(frozen=True)
class GridRun(Loading):
    """What is asked for; the fields are the options of the command `sap`.

    The source "own" is the world that the model was trained on (`own_source`).  `benchmarks` and
    `preset` are names parted by commas, or "all" and "both"; `where` is the grid,
    "default" or "ablations" (`preset` and `noise_seeds` are the former's alone).  `questions` are
    drawn from each benchmark, all where it has no more.  `decoding` and `prompt` are names of
    `decoding`, or "own", those of the model's category (`decoding_for`, `prompt_for`).

    Raises ValueError on an unknown name, a number that is too small, or an attention in whose
    place no plan stands, and as `Loading` does.
    """

    model: str
    source: str = OWN_WORLD
    benchmarks: str = "all"
    questions: int = 1000
    preset: str = "both"
    noise_seeds: int = 3
    where: str = "default"
    decoding: str = OWN
    prompt: str = OWN
    seed: int = 0
    batch_size: int = 50

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.attention not in (None, ATTENTIONS[0]):
            raise ValueError(
                f"attention: expected {ATTENTIONS[0]!r}, in whose place plans stand, "
                f"got {self.attention!r}"
            )
        names_in("benchmarks", self.benchmarks, "all", BENCHMARKS)
        names_in("preset", self.preset, "both", PRESETS)
        prompt_for(self.model, self.prompt)
        decoding_for(self.model, self.decoding)
        if self.where not in GRIDS:
            raise ValueError(f"where: expected one of {list(GRIDS)}, got {self.where!r}")
        for name in ("questions", "noise_seeds", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if self.seed < 0:
            raise ValueError(f"seed: expected 0 or more, got {self.seed}")

    @property
    def asked_in(self) -> str:
        """Where the questions come from; raises what `own_source` does."""
        return own_source(self.model, self.source)

    @property
    def asked_with(self) -> dict[str, str]:
        """The names of prompt and decoding."""
        return {
            "prompt": prompt_for(self.model, self.prompt),
            "decoding": decoding_for(self.model, self.decoding),
        }

    def variants(self, vlm: VisionLanguageModel) -> list[Variant]:
        """The grid for this model.  Raises ValueError if it is of no known family."""
        family, depth = family_of(vlm), len(vlm.layers)
        if self.where == "ablations":
            return ablations(family, depth=depth)
        names = names_in("preset", self.preset, "both", PRESETS)
        return presets(family, depth=depth, noise_seeds=self.noise_seeds, names=names)

    def samples(self) -> dict[str, Samples]:
        """The questions of each benchmark.

        Raises what `load_benchmark` does; ValueError where one folder, without a folder for each
        benchmark in it, is the source of several.
        """
        names, folder = self._benchmarks(), Path(self.asked_in)
        lacking = [name for name in names if not (folder / name).is_dir()]
        if self.asked_in not in (*WORLDS, "hub") and folder.is_dir() and lacking and names[1:]:
            raise ValueError(
                f"source: expected a folder for each of several benchmarks in {self.asked_in}, "
                f"got none for {', '.join(lacking)}"
            )
        loaded = {name: load_benchmark(name, self.asked_in) for name in names}
        drawn = {
            name: all_.draw(min(self.questions, len(all_)), seed=self.seed)
            for name, all_ in loaded.items()
        }
        prompt = self.asked_with["prompt"]
        return {name: prompted(samples, prompt) for name, samples in drawn.items()}

    def _benchmarks(self) -> list[str]:
        """Those that are named; "all" leaves out what the source does not have."""
        names = names_in("benchmarks", self.benchmarks, "all", BENCHMARKS)
        if self.benchmarks != "all":
            return names
        return [name for name in names if BENCHMARKS[name].has(self.asked_in)]

    def run(self, *, runs: Path, output: Path) -> Path | None:
        """Answer everything, or what a broken-off run left, and write the file of results.

        Unfinished answers lie in `runs`, one file a benchmark; results go to `output`, beside
        those to other benchmarks that lie there.  Returns the file's path, None in all processes
        but the main one.

        Raises ValueError, before the first question is asked, on folders that cannot be written,
        questions that cannot be read, or results that must not be mixed (`Results.check`).
        """
        check_writable("runs", runs)
        check_writable("output", output)
        samples, state = self.samples(), PartialState(cpu=not torch.cuda.is_available())
        vlm = load(self.model, **self.arguments())
        path = results_path(self.model, self.where, output)
        variants = self.variants(vlm)
        options = self.options | {"source": self.asked_in} | self.asked_with
        results = Results(path, weights_digest(vlm.model), variants, options, commit_of(vlm))
        results.check(list(samples))
        tables = [
            answer_under(
                vlm,
                drawn,
                benchmark=benchmark,
                variants=variants,
                decoding=DECODINGS[options["decoding"]],
                seed=self.seed,
                batch_size=self.batch_size,
                output=runs / f"{path.stem}-{benchmark}.jsonl",
                resume=True,
            )
            for benchmark, drawn in samples.items()
        ]
        if not state.is_main_process:
            return None
        results.write(pd.concat(tables, ignore_index=True))
        return path
