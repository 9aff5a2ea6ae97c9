"""RID and MixIG under every reading that the paper leaves open.

Definitions 3.4 to 3.8 and Section 4.2 do not say everything that a number needs, and the authors'
released helper functions differ from them.  "paper" is the text as this library reads it; each
other reading changes one thing (`READINGS`).
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor

from lost_in_attention.benchmarks import Sample
from lost_in_attention.metrics.mixing import token_mixing_entropy
from lost_in_attention.metrics.rid import ExplainedEnergy, spectrum, update_geometry
from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.residual.measure import measure_batch, prepared
from lost_in_attention.residual.stream import State, record

State3 = tuple[Float[Tensor, "tokens features"], ...]
Valued = Iterator[tuple[str, str, float]]

PAPER, NOT_HALVED = "paper", "innovation not halved"
FROM_INPUT, RELEASED_NOVELTY = "FFN from the layer's input", "released novelty"
OF_UPDATE = "TME of the update"
# What `measure` is told.  No rank enters MixIG.
RANKS = {
    "rank: 99% of energy": ExplainedEnergy(0.99),
    "rank: 90% of energy": ExplainedEnergy(0.9),
}
TOKENS = {"visual tokens": "visual", "text tokens": "text", "without sinks": "without sinks"}
# What `token_mixing_entropy` is told; the last are the released helper's defaults.
TMES: dict[str, dict[str, Any]] = {
    "TME: power 8": {"power": 8},
    "TME: last row": {"rows": "last"},
    "TME: over log S": {"normalise": True},
    "TME: released": {"power": 8, "rows": "last", "normalise": True},
}
READINGS = (
    PAPER, FROM_INPUT, NOT_HALVED, RELEASED_NOVELTY, *RANKS, *TOKENS, *TMES, OF_UPDATE,
)  # fmt: skip


def readings_of_batch(vlm: VisionLanguageModel, batch: Sequence[Sample]) -> list[dict]:
    """One row a sample, layer, module and reading: rid and mixig, or what stands in their place.

    Columns besides: image_source, tokens, features.  A quantity that a reading cannot change is
    NaN.

    Raises what `measure` does.
    """
    return [*_by_measure(vlm, batch), *_by_states(vlm, batch)]


def _by_measure(vlm: VisionLanguageModel, batch: Sequence[Sample]) -> Iterator[dict]:
    """The readings that `measure` knows, and the one that follows from its columns."""
    parts = ("rid", "mixig", "spectrum_change", "support_innovation")
    for row in measure_batch(vlm, batch, metrics=parts):
        yield _row(row, PAPER, row["rid"], row["mixig"])
        twice = row["spectrum_change"] + 2 * row["support_innovation"]
        yield _row(row, NOT_HALVED, twice, math.nan)
    for reading, rule in RANKS.items():
        for row in measure_batch(vlm, batch, rank_rule=rule, metrics=("rid",)):
            yield _row(row, reading, row["rid"], math.nan)
    for reading, tokens in TOKENS.items():
        for row in measure_batch(vlm, batch, tokens=tokens, metrics=("rid", "mixig")):
            yield _row(row, reading, row["rid"], row["mixig"])


def _row(place: dict, reading: str, rid: float, mixig: float) -> dict:
    kept = ("sample", "image_source", "layer", "module", "tokens", "features")
    return {key: place[key] for key in kept} | {"reading": reading, "rid": rid, "mixig": mixig}


def _by_states(vlm: VisionLanguageModel, batch: Sequence[Sample]) -> list[dict]:
    """The other readings, from the three states of every layer; one layer's are kept."""
    inputs, not_padding = prepared(vlm, batch, "all")
    kept: list[Tensor] = []
    rows: list[dict] = []

    def visit(state: State) -> None:
        kept.append(state.hidden.clone())
        if state.module != "ffn":
            return
        for index, sample in enumerate(batch):
            states = tuple(hidden[index][not_padding[index]] for hidden in kept)
            rows.extend(_of_layer(sample, state.layer, states))
        del kept[:-1]

    record(vlm, inputs, visit)
    return rows


def _of_layer(sample: Sample, layer: int, states: State3) -> list[dict]:
    """One row a reading and module, from X_in, X_attn and X_ffn."""
    tokens, features = states[0].shape
    place = {"sample": sample.id, "image_source": sample.image_source, "layer": layer}
    place |= {"tokens": tokens, "features": features}
    rows: dict[tuple[str, str], dict] = {}
    for quantity, values in (("rid", _rids(*states)), ("mixig", _mixigs(*states))):
        for reading, module, value in values:
            empty = _row(place | {"module": module}, reading, math.nan, math.nan)
            rows.setdefault((reading, module), empty)[quantity] = value
    return list(rows.values())


def _rids(x_in: Tensor, x_attn: Tensor, x_ffn: Tensor) -> Valued:
    """(reading, module, RID or what takes its place), with X_in before both modules."""
    before = spectrum(x_in)
    for module, after in (("attention", x_attn), ("ffn", x_ffn)):
        geometry = update_geometry(before, spectrum(after))
        size, tokens, features = geometry.factors
        yield FROM_INPUT, module, geometry.rid.total
        yield RELEASED_NOVELTY, module, size * math.hypot(tokens, features)


def _mixigs(x_in: Tensor, x_attn: Tensor, x_ffn: Tensor) -> Valued:
    """(reading, module, MixIG or what takes its place)."""
    for reading, how in TMES.items():
        first, middle, last = (token_mixing_entropy(x, **how) for x in (x_in, x_attn, x_ffn))
        yield reading, "attention", middle - first
        yield reading, "ffn", last - middle
    first, middle, last = map(token_mixing_entropy, (x_in, x_attn, x_ffn))
    yield FROM_INPUT, "attention", middle - first
    yield FROM_INPUT, "ffn", last - first
    released = TMES["TME: released"]
    yield OF_UPDATE, "attention", token_mixing_entropy(x_attn - x_in, **released)
    yield OF_UPDATE, "ffn", token_mixing_entropy(x_ffn - x_attn, **released)
