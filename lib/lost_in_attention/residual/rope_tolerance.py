"""How much RID a change makes that the paper counts as none: the rotary embedding's absence.

Section 3.3.1 sets eps_RoPE = RID(X_in with RoPE | X_in without) and calls an update
information-preserving when its RID is about that.  It does not say in which layer.  The rotary
embedding acts on queries and keys, so X_in of layer 0 does not feel it and eps_RoPE is zero
there by construction; deeper inputs carry its absence from all layers before.
"""

from collections.abc import Sequence

import pandas as pd
from jaxtyping import Float
from torch import Tensor

from lost_in_attention.benchmarks import Sample
from lost_in_attention.metrics.rid import NUMERICAL_RANK, RankRule, rid
from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.residual.baselines import without_rope
from lost_in_attention.residual.measure import Tokens, check_request, prepared
from lost_in_attention.residual.stream import State, record
from lost_in_attention.runs.batches import batches


def rope_tolerance(
    vlm: VisionLanguageModel,
    samples: Sequence[Sample],
    *,
    batch_size: int = 8,
    tokens: Tokens = "all",
    rank_rule: RankRule = NUMERICAL_RANK,
) -> pd.DataFrame:
    """RID between the inputs of every layer with and without rotary embedding.

    One row a sample and layer: sample, image_source, layer, rid, spectrum_change,
    support_innovation.  `tokens` is as in `measure`.  A batch's layer inputs are kept, in the
    model's own type, until its second forward pass.

    Raises ValueError on bad arguments before the model runs, and what `spectrum` raises.
    """
    check_request(samples, batch_size, tokens)
    rows: list[dict] = []
    for batch in batches(samples, batch_size, f"RoPE tolerance {vlm.name}"):
        rows += tolerance_of_batch(vlm, batch, tokens=tokens, rank_rule=rank_rule)
    return pd.DataFrame(rows)


def tolerance_of_batch(
    vlm: VisionLanguageModel,
    batch: Sequence[Sample],
    *,
    tokens: Tokens = "all",
    rank_rule: RankRule = NUMERICAL_RANK,
) -> list[dict]:
    """The rows of `rope_tolerance` for samples that go through the model together."""
    inputs, chosen = prepared(vlm, batch, tokens)
    usual = _layer_inputs(vlm, inputs)
    with without_rope(vlm) as bare:
        turned_off = _layer_inputs(bare, inputs)
    rows: list[dict] = []
    for index, (sample, mask) in enumerate(zip(batch, chosen, strict=True)):
        origin = {"sample": sample.id, "image_source": sample.image_source}
        for layer, (before, after) in enumerate(zip(usual, turned_off, strict=True)):
            found = rid(before[index][mask], after[index][mask], rank_rule=rank_rule)
            rows.append(origin | {"layer": layer, "rid": found.total} | found._asdict())
    return rows


def _layer_inputs(vlm: VisionLanguageModel, inputs) -> list[Float[Tensor, "batch tokens features"]]:
    """X_in of every layer: the first state, and what each layer but the last hands on."""
    kept = []

    def visit(state: State) -> None:
        if state.module == "input" or (state.module == "ffn" and state.layer < len(vlm.layers) - 1):
            kept.append(state.hidden.clone())

    record(vlm, inputs, visit)
    return kept
