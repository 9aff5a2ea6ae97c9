"""How much of a graph runs through the key region, and how much would by chance (Appendix E)."""

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int

from lost_in_attention.trace.graphs import Trace
from lost_in_attention.trace.regions import Region

KINDS = ("all", "between", "self")


def uniform_ratio(tokens: int, key_tokens: int, kind: str = "all") -> float:
    """What rho would be, on average, if edges fell uniformly on all pairs that causality allows.

    A token attends to itself and to earlier ones, so n tokens have n (n + 1) / 2 pairs ("all"),
    n of them self-edges ("self"), the others "between" two tokens.  Where the key tokens lie
    does not matter.  nan where there is no pair.

    Raises ValueError for an unknown kind, or unless 0 < key_tokens <= tokens.
    """
    if not 0 < key_tokens <= tokens:
        raise ValueError(f"key_tokens: expected 1 to {tokens}, got {key_tokens}")
    if kind not in KINDS:
        raise ValueError(f"kind: expected one of {KINDS}, got {kind!r}")
    pairs = {"all": lambda n: n * (n + 1) / 2, "between": lambda n: n * (n - 1) / 2, "self": float}
    every = pairs[kind](tokens)
    return 1 - pairs[kind](tokens - key_tokens) / every if every else math.nan


def degree_ratios(
    trace: Trace,
    regions: Mapping[str, Region],
    *,
    tokens: Mapping[str, Region] | None = None,
) -> pd.DataFrame:
    """rho of every graph of the samples in `regions`, in three rows each.

    Columns: those of `degree_counts` and of `with_ratios`, which say more; what is raised is what
    `degree_counts` raises.
    """
    return with_ratios(degree_counts(trace, regions, tokens=tokens))


def degree_counts(
    trace: Trace,
    regions: Mapping[str, Region],
    *,
    tokens: Mapping[str, Region] | None = None,
) -> pd.DataFrame:
    """The edges of every graph of the samples in `regions`, in three rows each.

    The kinds: "all" edges, as the paper's formula reads, those "between" different tokens, and
    self-edges ("self").  Columns: sample, layer, head, kind, tokens, key_tokens, edges,
    key_edges (those with an end in the region).  `tokens` restricts a sample's graphs to some of
    its tokens, by default none are left out.

    Raises ValueError for no regions, a sample that was not traced, a mask of another length than
    the sample's visual tokens, or a region without tokens.
    """
    if not regions:
        raise ValueError("regions: expected at least one, got none")
    of_sample = dict(iter(trace.edges.groupby("sample")))
    rows = []
    for sample, region in regions.items():
        chosen = np.ones(len(region), bool) if tokens is None else tokens[sample]
        _check_masks(trace, sample, region, chosen)
        edges = of_sample.get(sample, trace.edges[:0])
        edges = edges[chosen[edges["source"]] & chosen[edges["target"]]]
        counts = _count(trace, edges, region & chosen, int(chosen.sum()))
        rows += [{"sample": sample, **row} for row in counts]
    return pd.DataFrame(rows)


def with_ratios(counts: pd.DataFrame) -> pd.DataFrame:
    """`degree_counts` with rho (ratio), `uniform_ratio` (expected) and the one over the other
    (normalised); without edges ratio and normalised are nan."""
    ratio = counts["key_edges"] / counts["edges"].where(counts["edges"] > 0)
    cases = zip(counts["tokens"], counts["key_tokens"], counts["kind"], strict=True)
    expected = pd.Series([uniform_ratio(*case) for case in cases], counts.index, dtype=float)
    return counts.assign(ratio=ratio, expected=expected, normalised=ratio / expected)


def _count(trace: Trace, edges: pd.DataFrame, region: Region, tokens: int) -> list[dict]:
    """Edges and key edges of every graph of one sample, by kind."""
    number = (edges["layer"] * trace.heads + edges["head"]).to_numpy()
    keyed = _touches(edges, region)
    own = (edges["source"] == edges["target"]).to_numpy()
    rows = []
    for kind, chosen in zip(KINDS, (np.ones_like(own), ~own, own), strict=True):
        counts = _tally(number[chosen], trace), _tally(number[chosen & keyed], trace)
        for graph, (every, key) in enumerate(zip(*counts, strict=True)):
            layer, head = divmod(graph, trace.heads)
            rows.append({
                "layer": layer, "head": head, "kind": kind, "tokens": tokens,
                "key_tokens": int(region.sum()), "edges": int(every), "key_edges": int(key),
            })  # fmt: skip
    return rows


def _tally(number: Int[np.ndarray, "edges"], trace: Trace) -> Int[np.ndarray, "graphs"]:
    return np.bincount(number, minlength=trace.layers * trace.heads)


def _touches(edges: pd.DataFrame, region: Region) -> Bool[np.ndarray, "edges"]:
    if not region.any():
        raise ValueError("region: expected at least one key token, got none")
    return region[edges["source"]] | region[edges["target"]]


def _check_masks(trace: Trace, sample: str, region: Region, chosen: Region) -> None:
    if sample not in trace.visual_tokens:
        raise ValueError(f"regions: expected samples that were traced, got {sample!r}")
    for name, mask in (("regions", region), ("tokens", chosen)):
        if len(mask) != trace.visual_tokens[sample]:
            raise ValueError(
                f"{name}: expected {trace.visual_tokens[sample]} tokens for {sample!r}, "
                f"got {len(mask)}"
            )
