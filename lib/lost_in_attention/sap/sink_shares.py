"""How much attention the sinks draw in replaced heads, under a plan and in the model as it is.

Attention is an average of values.  With 1 for a sink and 0 for every other key in the values'
place, it is the share of the weight that falls on sinks: so the intervention itself says what its
heads look at, whichever way it computes them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lost_in_attention.benchmarks import Sample
from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.residual.measure import check_request, prepared
from lost_in_attention.residual.sink_attention import queries_behind
from lost_in_attention.residual.sink_quantities import COLUMNS
from lost_in_attention.residual.sinks import sink_tokens
from lost_in_attention.residual.tables import SAMPLE
from lost_in_attention.runs.batches import batches
from lost_in_attention.sap.intervention import check_fits, replacing
from lost_in_attention.sap.plan import SharedAttentionPrior
from lost_in_attention.sap.replacement import Replacement, vanilla
from lost_in_attention.statistics import mean_intervals

# By layer: the heads that are replaced, and the share of all heads.
Chosen = dict[int, tuple[Int[Tensor, " chosen"], Float[Tensor, " heads"]]]


def sink_shares(
    vlm: VisionLanguageModel, samples: Sequence[Sample], plan: SharedAttentionPrior
) -> pd.DataFrame:
    """One row a replaced head: sample, image_source, layer, head, own, replaced.

    `own` and `replaced` are the shares of the sinks (`sinks.sink_tokens`) in the model as it is and
    under the plan, means over the queries behind the picture and the sinks.  Heads are those that
    the prompt chooses under the plan.  A sample without sinks has no rows.

    Raises ValueError on no samples, and where the plan does not fit the model
    (`shared_attention_prior`), before the model runs.
    """
    check_request(samples, 1, "all")
    check_fits(vlm, plan)
    rows = []
    for (sample,) in batches(samples, 1, f"sinks under {plan.mode} of {vlm.name}"):
        inputs, _ = prepared(vlm, [sample], "all")
        origin = {"sample": sample.id, "image_source": sample.image_source}
        rows += [origin | row for row in _of_one(vlm, inputs, plan)]
    return pd.DataFrame(rows, columns=[*SAMPLE, "layer", "head", "own", "replaced"])


def sink_change(shares: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """How far a replaced head's share moves, up or down: one row, as `sink_quantities` has them.

    `shares` is what `sink_shares` gives; the interval is over images.  No rows of no shares.
    """
    if not len(shares):
        return pd.DataFrame(columns=COLUMNS)
    name = "sap_sink_change"
    change = shares.assign(**{name: (shares["replaced"] - shares["own"]).abs()})
    per_sample = change.groupby(SAMPLE, sort=False, as_index=False)[name].mean().assign(every=0)
    return mean_intervals(per_sample, [name], ["every"], "image_source", seed=seed)[COLUMNS]


def _of_one(
    vlm: VisionLanguageModel, inputs: Mapping[str, Any], plan: SharedAttentionPrior
) -> list[dict]:
    sinks = sink_tokens(vlm, inputs)[0]
    if not sinks.any():
        return []
    rows = queries_behind({"sinks": sinks, "visual": vlm.visual_mask(inputs)[0]}, len(sinks))
    usual = _shares(vlm, inputs, replace(plan, blend=0.0), sinks, rows)
    found = []
    for layer, (heads, under) in _shares(vlm, inputs, plan, sinks, rows).items():
        own = usual[layer][1]
        for head in heads.tolist():
            place = {"layer": layer, "head": head}
            found.append(place | {"own": float(own[head]), "replaced": float(under[head])})
    return found


def _shares(
    vlm: VisionLanguageModel,
    inputs: Mapping[str, Any],
    plan: SharedAttentionPrior,
    sinks: Bool[Tensor, " tokens"],
    rows: Bool[Tensor, " tokens"],
) -> Chosen:
    """By layer of the plan: the heads that it chose, and every head's share."""
    reader = _Reader(vlm, plan, sinks, rows.to(sinks.device))
    with torch.inference_mode(), replacing(vlm, reader) as changed:
        changed.model.model(**inputs, use_cache=False)
    return reader.found


class _Reader(Replacement):
    """The intervention, asked in passing how much falls on the sinks."""

    def __init__(
        self,
        vlm: VisionLanguageModel,
        plan: SharedAttentionPrior,
        sinks: Bool[Tensor, " tokens"],
        rows: Bool[Tensor, " tokens"],
    ) -> None:
        super().__init__(vlm, plan)
        self.sinks, self.rows = sinks, rows
        self.found: Chosen = {}

    def attend(self, module, query, key, value, mask, scaling):
        """The attention under the plan, as ever."""
        drawn = self.sinks.to(value)[None, None, :, None].expand(value.shape)
        share = super().attend(module, query, key, drawn, mask, scaling)
        if share is None:
            share = vanilla(module, query, key, drawn, mask, scaling)
        layer = module.layer_idx
        means = share[0, :, self.rows, 0].float().mean(1)
        self.found[layer] = self.layers[layer].heads[0], means
        return super().attend(module, query, key, value, mask, scaling)
