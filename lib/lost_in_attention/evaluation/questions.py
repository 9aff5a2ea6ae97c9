"""Ask a model a benchmark's questions and keep every reply.

One process or several (torchrun, accelerate) give the same table.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from lost_in_attention.benchmarks import Sample
from lost_in_attention.evaluation.decoding import GREEDY, Decoding, Reply, replies
from lost_in_attention.evaluation.lane import Asking
from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.runs.provenance import versions


def evaluate(
    vlm: VisionLanguageModel,
    samples: Sequence[Sample],
    *,
    benchmark: str,
    decoding: Decoding = GREEDY,
    seed: int = 0,
    batch_size: int = 50,
    judging: str = "strict",
    output: Path | None = None,
    resume: bool = False,
) -> pd.DataFrame:
    """One row a question: model, benchmark, sample, group, image_source, prompt, reply, finished,
    parsed, answer, correct, the sample's fields, decoding (its name), seed, versions (JSON).

    A reply that cannot be parsed is None in `parsed` and not correct; `finished` says whether it
    ended by itself.  `judging` names the rules: "strict", ours, or "official" where the benchmark's
    authors publish a script.  `seed` matters where `decoding` samples.  With `output` the rows go
    to that file as they come (see `run_file`); `resume` goes on with a run that lies there, and
    starts one where none does.

    Raises, before the model runs:
        ValueError: an unknown benchmark, no samples, a bad number, `resume` without `output`,
            or a run of other settings or samples in `output`.
        FileExistsError: a run lies in `output` and `resume` is False.
    """

    def answered(batch: list[Sample], batch_seed: int) -> list[list[Reply]]:
        return [replies(vlm, batch, decoding, seed=batch_seed)]

    origin = {"decoding": decoding.name, "seed": seed, "versions": json.dumps(versions())}
    asking = Asking(vlm, samples, benchmark, decoding, seed, batch_size, judging)
    return asking.table(answered, [origin], output=output, resume=resume)
