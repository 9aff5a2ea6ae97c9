"""What the difference between FFN and attention in RID is made of: sinks, size, novelty.

For one sample, with w the weights of layers (`depth.layer_weights`), the gap is

    G = sum_l w_l (RID_ffn[l] - RID_attention[l]).

Without the sinks' rows it is G'.  G - G' is what the sinks make of it, and parts of it belong to
the layers before a sink is written, to the one that writes it, to those that carry it and to those
from where it is taken away.  In G', support innovation is size s times novelty n over two, and

    s_f n_f - s_a n_a = (s_f - s_a) (n_f + n_a) / 2 + (n_f - n_a) (s_f + s_a) / 2

parts it into what the sizes' difference makes and what the novelties' makes, neither first.  What
is left of G' is the spectrum's part, and what the rank rule cut.  The parts add up to G exactly.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from lost_in_attention.residual.depth import layer_weights
from lost_in_attention.residual.sink_effect import ALL, KEPT, RESIZED
from lost_in_attention.residual.tables import SAMPLE
from lost_in_attention.statistics import LEVEL, RESAMPLES, resampled_means

PHASES = ("before", "written", "carried", "removed")
SINK_PARTS = tuple(f"sink {phase}" for phase in PHASES)
KEPT_PARTS = ("size", "novelty", "spectrum", "cut")
PARTS = (*SINK_PARTS, *KEPT_PARTS)
_KEYS = [*SAMPLE, "layer"]
# A state has sinks if more than this share of the samples has some there.
_MOST = 0.5


class Phases(NamedTuple):
    """The layer that writes the first sink, and the first layer behind which there is none again.

    None where that never happens.
    """

    written: int | None
    removed: int | None

    def of(self, layer: int) -> str:
        """Which of `PHASES` a layer belongs to."""
        if self.written is None or layer < self.written:
            return "before"
        if layer == self.written:
            return "written"
        return "carried" if self.removed is None or layer < self.removed else "removed"


def phases(carriers: pd.DataFrame) -> Phases:
    """When most samples have a token with a massive activation (`SinkTables.carriers`)."""
    most = carriers.groupby(["layer", "module"])["massive"].agg(lambda n: (n > 0).mean() > _MOST)
    behind = most.groupby("layer").any()
    if not behind.any():
        return Phases(None, None)
    last_states = most[most.index.get_level_values("module") == "ffn"].droplevel("module")
    written = int(behind.idxmax())
    free = last_states.index[(last_states.index > written) & ~last_states]
    later = [layer for layer in free if not last_states.loc[layer:].any()]
    return Phases(written, int(min(later)) if later else None)


def kept_rows(updates: pd.DataFrame) -> pd.DataFrame:
    """The rows without sinks; of a sample that has none, those of all tokens."""
    kept = updates[updates["rows"] == KEPT]
    every = updates[updates["rows"] == ALL]
    return pd.concat([kept, every[~every["sample"].isin(kept["sample"])]], ignore_index=True)


def gap_parts(updates: pd.DataFrame, carriers: pd.DataFrame) -> pd.DataFrame:
    """One row a sample: gap (all tokens), kept (without sinks), equal_size (resized), `PARTS`.

    kept is the sum of `KEPT_PARTS`, gap that of all parts.

    Raises ValueError unless every sample has every layer and both modules.
    """
    own = updates[updates["update"] == "own"]
    every, kept = (_layer_gaps(rows) for rows in (own[own["rows"] == ALL], kept_rows(own)))
    resized = _layer_gaps(kept_rows(updates[updates["update"] == RESIZED]))
    table = kept[list(KEPT_PARTS)].assign(
        gap=every["rid"], kept=kept["rid"], equal_size=resized["rid"]
    )
    times, sink = phases(carriers), every["rid"] - kept["rid"]
    phase = sink.index.get_level_values("layer").map(times.of)
    for name, part in zip(PHASES, SINK_PARTS, strict=True):
        table[part] = sink.where(phase == name, 0.0)
    weights = layer_weights(1 + int(own["layer"].max()))
    table = table.mul(weights[table.index.get_level_values("layer")], axis=0)
    columns = ["gap", "kept", "equal_size", *PARTS]
    return table.groupby(level=SAMPLE, sort=False).sum().reset_index()[[*SAMPLE, *columns]]


def shares(
    parts: pd.DataFrame, names: Sequence[str], whole: str = "gap", *, seed: int
) -> pd.DataFrame:
    """The mean of each part over that of `whole`: quantity, mean, low, high, as of intervals.

    A ratio of means over samples, in every resample of images too.
    """
    columns = [whole, *names]
    values = parts[columns].to_numpy(float)
    means = values.mean(0)
    drawn = resampled_means(
        values, units=parts["image_source"].to_numpy(), resamples=RESAMPLES, seed=seed
    )
    tail = (1 - LEVEL) / 2
    bounds = np.quantile(drawn[:, 1:] / drawn[:, :1], [tail, 1 - tail], axis=0)
    return pd.DataFrame(
        {"quantity": list(names), "mean": means[1:] / means[0], "low": bounds[0], "high": bounds[1]}
    )


def _layer_gaps(rows: pd.DataFrame) -> pd.DataFrame:
    """FFN minus attention by sample and layer: rid, and its size, novelty, spectrum and cut."""
    wide = rows.assign(novelty=rows["token_novelty"] + rows["feature_novelty"])
    wide = wide.set_index([*_KEYS, "module"])[
        ["rid", "spectrum_change", "support_innovation", "size", "novelty"]
    ]
    wide = wide.astype(float).unstack("module").sort_index()
    layers = wide.index.get_level_values("layer")
    if wide.isna().any(axis=None) or wide.groupby(level="sample").size().nunique() > 1:
        raise ValueError(
            "updates: expected attention and FFN of every sample in every layer, "
            f"got {len(rows)} rows of {layers.nunique()} layers"
        )
    gap = wide.xs("ffn", axis=1, level=1) - wide.xs("attention", axis=1, level=1)
    total = wide.xs("ffn", axis=1, level=1) + wide.xs("attention", axis=1, level=1)
    size, novelty = gap["size"] * total["novelty"] / 4, gap["novelty"] * total["size"] / 4
    return pd.DataFrame(
        {
            "rid": gap["rid"],
            "size": size,
            "novelty": novelty,
            "spectrum": gap["spectrum_change"],
            "cut": gap["rid"] - gap["spectrum_change"] - size - novelty,
        }
    )
