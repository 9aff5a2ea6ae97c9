"""What the tables of `measure_sinks` say in a few numbers, with intervals over images.

Predictions are made of these numbers, so that text and pictures, and any two models, can be set
side by side.
"""

import pandas as pd

from lost_in_attention.residual.depth import layer_weights
from lost_in_attention.residual.sink_effect import ALL, CONTROL, SinkTables
from lost_in_attention.residual.sink_parts import Phases, gap_parts, phases, shares
from lost_in_attention.residual.tables import SAMPLE
from lost_in_attention.statistics import mean_intervals

# The layer whose FFN writes SmolLM2's sink on text.
WRITING_LAYER = 11
COLUMNS = ["quantity", "mean", "low", "high"]


def sink_quantities(tables: SinkTables, *, seed: int) -> pd.DataFrame:
    """One row a number: quantity, mean, low, high.

    Shares of samples: sink_first (the largest activation is on the first token), visual_massive,
    ffn_11_largest (of all RIDs).  Of RID, FFN minus attention over depth: gap, kept_share (what is
    left without sinks, over gap), novelty_share (novelty's part of what is left), equal_size,
    control_gap (the change without others).  mixig_gap is attention minus FFN.  sink_attention is
    the sinks' mean share in the layers that carry one, visual_below the share of these in which all
    visual tokens together draw less, trace_row_sum what visual tokens give each other there.  What
    cannot be said of a model without sinks is missing.
    """
    parts = gap_parts(tables.updates, tables.carriers)
    per_sample = parts[[*SAMPLE, "gap", "equal_size"]]
    for more in (_of_carriers(tables), _of_updates(tables), _of_attention(tables)):
        per_sample = per_sample.merge(more, on=SAMPLE, how="left")
    names = [name for name in per_sample if name not in SAMPLE]
    found = mean_intervals(per_sample.assign(every=0), names, ["every"], "image_source", seed=seed)
    ratios = [
        shares(parts, ["kept"], seed=seed).replace("kept", "kept_share"),
        shares(parts, ["novelty"], "kept", seed=seed).replace("novelty", "novelty_share"),
    ]
    whole = pd.concat([found[COLUMNS], *ratios], ignore_index=True)
    return whole.dropna(subset="mean").reset_index(drop=True)


def carrying_layers(times: Phases, layers: int) -> range:
    """The layers that find a sink when they begin; none in a model without."""
    if times.written is None:
        return range(0)
    return range(times.written + 1, layers if times.removed is None else times.removed + 1)


def _of_carriers(tables: SinkTables) -> pd.DataFrame:
    groups = tables.carriers.groupby(SAMPLE, sort=False)
    most = tables.carriers.loc[groups["largest"].idxmax()]
    visual = groups["massive_visual"].max().gt(0).astype(float).rename("visual_massive")
    first = most.assign(sink_first=most["position"].eq(0).astype(float))
    return first[[*SAMPLE, "sink_first"]].merge(visual.reset_index(), on=SAMPLE)


def _of_updates(tables: SinkTables) -> pd.DataFrame:
    own = tables.updates[tables.updates["update"] == "own"]
    every = own[own["rows"] == ALL]
    top = every.loc[every.groupby(SAMPLE, sort=False)["rid"].idxmax()]
    largest = (top["layer"] == WRITING_LAYER) & (top["module"] == "ffn")
    table = top[SAMPLE].assign(ffn_11_largest=largest.astype(float))
    gaps, control = _gaps(every), own[own["rows"] == CONTROL]
    told = -gaps[["mixig"]].rename(columns={"mixig": "mixig_gap"})
    if len(control):
        told["control_gap"] = _gaps(control)["rid"] - gaps["rid"]
    return table.merge(told.reset_index(), on=SAMPLE)


def _gaps(rows: pd.DataFrame) -> pd.DataFrame:
    """FFN minus attention over depth, by sample: rid and mixig."""
    weights = layer_weights(1 + int(rows["layer"].max()))
    signs = rows["module"].map({"ffn": 1.0, "attention": -1.0})
    weighted = signs * rows["layer"].map(dict(enumerate(weights)))
    values = rows[["rid", "mixig"]].astype(float).mul(weighted, axis=0)
    return values.groupby([rows[key] for key in SAMPLE], sort=False).sum()


def _of_attention(tables: SinkTables) -> pd.DataFrame:
    """By sample: sink_attention; visual_below and trace_row_sum where there is a picture."""
    layers = 1 + int(tables.attention["layer"].max())
    carried = carrying_layers(phases(tables.carriers), layers)
    rows = tables.attention[tables.attention["layer"].isin(carried)]
    shares = ["sinks", "visual", "among_visual"]
    by_layer = rows.groupby([*SAMPLE, "layer"], sort=False)[shares].mean()
    told = by_layer.assign(visual_below=(by_layer["visual"] < by_layer["sinks"]).astype(float))
    of_pictures = ["visual_below", "among_visual"] if rows["visual"].gt(0).any() else []
    table = told.groupby(SAMPLE, sort=False)[["sinks", *of_pictures]].mean().reset_index()
    return table.rename(columns={"sinks": "sink_attention", "among_visual": "trace_row_sum"})
