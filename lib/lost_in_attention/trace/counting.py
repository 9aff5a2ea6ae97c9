"""What is counted of traced questions: edges at the asked object, with and without hubs.

A table of counts has one row a sample, layer and kind of edges; all shares are made of them.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from lost_in_attention.trace.graphs import Trace
from lost_in_attention.trace.ratio import degree_counts
from lost_in_attention.trace.regions import Region

ALL_TOKENS, WITHOUT_HUBS = "all tokens", "without hubs"
_LOWEST, _OTHERS = 0.02, (0.05, 0.15, 0.2, 0.3)
# One token in so many counts as a hub.
_HUBS = 20


def lowest(threshold: float) -> float:
    """The threshold of a trace that is looked at under several, `threshold` among them."""
    return min(_LOWEST, threshold)


def thresholds(threshold: float) -> list[float]:
    """The thresholds at which cases are counted, in order."""
    return sorted({lowest(threshold), threshold, *_OTHERS})


def case_counts(trace: Trace, regions: Mapping[str, Region], threshold: float) -> pd.DataFrame:
    """Edges of each case and layer, and those at its key region, at every one of `thresholds`.

    Columns: sample, layer, kind, tokens, key_tokens, edges, key_edges (`degree_counts`), tau and
    among: "all tokens", or, at `threshold` alone, "without hubs", where a case whose region
    consists of hubs has no rows.

    Raises ValueError where the trace was made with a threshold above the lowest, and what
    `degree_counts` raises.
    """
    parts = [
        degree_counts(trace.at(tau), regions).assign(tau=tau, among=ALL_TOKENS)
        for tau in thresholds(threshold)
    ]
    masks = without_hubs(trace.at(threshold), regions)
    if masks:
        rest = {name: regions[name] for name in masks}
        counts = degree_counts(trace.at(threshold), rest, tokens=masks)
        parts.append(counts.assign(tau=threshold, among=WITHOUT_HUBS))
    # The graphs are means over heads: all are of "head" 0.
    return pd.concat(parts, ignore_index=True).drop(columns="head")


def without_hubs(trace: Trace, regions: Mapping[str, Region]) -> dict[str, Region]:
    """Which tokens are left without the twentieth from which most edges to other tokens start.

    A sample of whose region nothing is left is missing.
    """
    edges = trace.edges[trace.edges["source"] != trace.edges["target"]]
    starts = dict(iter(edges.groupby("sample")["source"]))
    masks = {}
    for name, region in regions.items():
        started = np.bincount(starts.get(name, []), minlength=len(region))
        hubs = np.argsort(-started, kind="stable")[: -(-len(region) // _HUBS)]
        masks[name] = ~np.isin(np.arange(len(region)), hubs)
    return {name: mask for name, mask in masks.items() if (mask & regions[name]).any()}


def edge_counts(trace: Trace) -> pd.DataFrame:
    """How many edges each graph has: sample, layer, kind ("between" two tokens, or "self"),
    edges, tokens (the sample's visual ones)."""
    kinds = np.where(trace.edges["source"] == trace.edges["target"], "self", "between")
    every = [list(trace.visual_tokens), range(trace.layers), ["between", "self"]]
    index = pd.MultiIndex.from_product(every, names=["sample", "layer", "kind"])
    counts = trace.edges.groupby(["sample", "layer", kinds]).size().reindex(index, fill_value=0)
    table = counts.rename("edges").reset_index()
    return table.assign(tokens=table["sample"].map(trace.visual_tokens))
