"""From a question to a judged and scored row, with or without a plan; and what plans change.

The experiment of Section 4.3:

    variants = presets("qwen2.5-vl", depth=8, noise_seeds=3)
    table = answer_under(vlm, samples, benchmark="pope", variants=variants)
    cells = against_vanilla(table, seed=0)
"""

from lost_in_attention.evaluation.beside_stored import Answers, draw_as_stored, with_stored
from lost_in_attention.evaluation.comparisons import (
    against_vanilla,
    kept_and_returned,
    seen_by_either,
)
from lost_in_attention.evaluation.grid import (
    Variant,
    ablations,
    family_of,
    heads_replaced,
    presets,
)
from lost_in_attention.evaluation.grid_run import GridRun
from lost_in_attention.evaluation.prior_entropy import prior_entropies
from lost_in_attention.evaluation.readings import READINGS, readings, reproduces
from lost_in_attention.evaluation.stored import Results, read_results
from lost_in_attention.evaluation.under_plans import answer_under
from lost_in_attention.models.shipped import own_source

__all__ = [
    "READINGS",
    "Answers",
    "GridRun",
    "Results",
    "Variant",
    "ablations",
    "against_vanilla",
    "answer_under",
    "draw_as_stored",
    "family_of",
    "heads_replaced",
    "kept_and_returned",
    "own_source",
    "presets",
    "prior_entropies",
    "read_results",
    "readings",
    "reproduces",
    "seen_by_either",
    "with_stored",
]
