"""RID, its factors and MixIG of every module in every layer, as a tidy table.

The states stream out of the forward pass one after another; each is decomposed once,
serves as X' of one update and as X of the next, and is forgotten.
"""

from collections.abc import Callable, Sequence

import pandas as pd
from jaxtyping import Bool
from torch import Tensor
from tqdm import tqdm

from lost_in_attention.benchmarks import Sample
from lost_in_attention.geometry import (
    NUMERICAL_RANK,
    NonFiniteError,
    RankRule,
    Spectrum,
    spectrum,
    update_geometry,
)
from lost_in_attention.mixing import token_mixing_entropy, token_mixing_entropy_from_gram
from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.stream import State, record

TOKENS = ("all", "visual", "text")


def measure(
    vlm: VisionLanguageModel,
    samples: Sequence[Sample],
    *,
    batch_size: int = 8,
    tokens: str = "all",
    rank_rule: RankRule = NUMERICAL_RANK,
) -> pd.DataFrame:
    """One row a sample, layer and module (attention: X_in to X_attn; ffn: X_attn to X_ffn).

    Columns: sample, image_source, layer, module, tokens (their number S), rid,
    spectrum_change, support_innovation, size, token_novelty, feature_novelty, mixig,
    and of the state after the update effective_rank, rank, tme.  `tokens` chooses the
    rows of a state: all, visual or text; padding never counts.

    Raises ValueError on bad arguments before the model runs, and NonFiniteError naming
    sample, layer and module where a state holds NaN or an infinity.
    """
    if tokens not in TOKENS:
        raise ValueError(f"tokens: expected one of {TOKENS}, got {tokens!r}")
    if not samples:
        raise ValueError("samples: expected at least one, got none")
    tables = []
    with tqdm(total=len(samples), desc=f"measure {vlm.name}", unit="sample") as bar:
        for start in range(0, len(samples), batch_size):
            batch = list(samples[start : start + batch_size])
            tables.append(_measure_batch(vlm, batch, tokens, rank_rule))
            bar.update(len(batch))
    return pd.concat(tables, ignore_index=True)


def _measure_batch(
    vlm: VisionLanguageModel, samples: Sequence[Sample], tokens: str, rank_rule: RankRule
) -> pd.DataFrame:
    inputs = vlm.prepare([s.image for s in samples], [s.prompt for s in samples])
    chosen = _chosen_tokens(vlm, inputs, tokens)
    rows: list[dict] = []
    trackers = [
        _tracker(sample, mask, rank_rule, rows.append)
        for sample, mask in zip(samples, chosen, strict=True)
    ]

    def visit(state: State) -> None:
        for index, track in enumerate(trackers):
            track(state, index)

    record(vlm, inputs, visit)
    return pd.DataFrame(rows)


def _chosen_tokens(vlm: VisionLanguageModel, inputs, tokens: str) -> Bool[Tensor, "batch tokens"]:
    real = inputs["attention_mask"].bool()
    if tokens == "all":
        return real
    visual = vlm.visual_mask(inputs)
    return real & (visual if tokens == "visual" else ~visual)


def _tracker(
    sample: Sample, mask: Bool[Tensor, " tokens"], rank_rule: RankRule, add: Callable[[dict], None]
) -> Callable[[State, int], None]:
    """Follows one sample through the states and adds a row for every update."""
    before: tuple[Spectrum, float] | None = None

    def track(state: State, index: int) -> None:
        nonlocal before
        try:
            decomposed = spectrum(state.hidden[index][mask], rank_rule=rank_rule)
        except NonFiniteError as error:
            raise NonFiniteError(
                f"sample {sample.id}, layer {state.layer}, module {state.module}: {error}"
            ) from error
        after = (decomposed, _mixing_entropy(decomposed))
        if before is not None:
            add(_row(sample, state, before, after))
        before = after

    return track


def _mixing_entropy(state: Spectrum) -> float:
    """TME, from the token Gram matrix where the decomposition has made it already."""
    if state.tokens <= state.features:
        return float(token_mixing_entropy_from_gram(state.gram))
    return float(token_mixing_entropy(state.matrix))


def _row(
    sample: Sample, state: State, before: tuple[Spectrum, float], after: tuple[Spectrum, float]
) -> dict:
    geometry = update_geometry(before[0], after[0])
    return {
        "sample": sample.id,
        "image_source": sample.image_source,
        "layer": state.layer,
        "module": state.module,
        "tokens": after[0].tokens,
        "rid": geometry.rid.total,
        "spectrum_change": geometry.rid.spectrum_change,
        "support_innovation": geometry.rid.support_innovation,
        "size": geometry.factors.size,
        "token_novelty": geometry.factors.token_novelty,
        "feature_novelty": geometry.factors.feature_novelty,
        "mixig": after[1] - before[1],
        "effective_rank": after[0].effective_rank,
        "rank": after[0].rank,
        "tme": after[1],
    }
