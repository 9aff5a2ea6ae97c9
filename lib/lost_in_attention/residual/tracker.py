"""One sample on its way through the states: a row for every update that it meets.

A state is decomposed once; it serves as X' of the update that made it and as X of the next.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from jaxtyping import Bool, Float
from torch import Tensor

from lost_in_attention.benchmarks import Sample
from lost_in_attention.metrics.mixing import token_mixing_entropy, token_mixing_entropy_from_gram
from lost_in_attention.metrics.rid import (
    NonFiniteError,
    RankRule,
    Spectrum,
    spectrum,
    update_geometry,
)
from lost_in_attention.residual.controls import Control
from lost_in_attention.residual.stream import State

OWN = "own"
Measured = tuple[Spectrum, float]


@dataclass
class Tracker:
    """Collects the rows of one sample; `mask` says which of its tokens count."""

    sample: Sample
    mask: Bool[Tensor, " tokens"]
    rank_rule: RankRule
    controls: Mapping[str, Control]
    rows: list[dict] = field(default_factory=list)
    before: Measured | None = None

    def visit(self, state: State, hidden: Float[Tensor, "tokens features"]) -> None:
        """Measure the update that led to this state, and every control in its place.

        Raises NonFiniteError naming sample, layer and module of a NaN or an infinity, ValueError
        naming them where a state is zero everywhere, or what a control says of its update.
        """
        with self._located(state):
            after = _measured(hidden[self.mask], self.rank_rule)
            if self.before is not None:
                self._add(state, OWN, after)
                x = self.before[0].matrix
                for name, control in self.controls.items():
                    changed = x + control(x, after[0].matrix - x)
                    self._add(state, name, _measured(changed, self.rank_rule))
        self.before = after

    @contextmanager
    def _located(self, state: State) -> Iterator[None]:
        """Errors of the block say where they happened."""
        try:
            yield
        except ValueError as error:
            kind = NonFiniteError if isinstance(error, NonFiniteError) else ValueError
            raise kind(
                f"sample {self.sample.id}, layer {state.layer}, module {state.module}: {error}"
            ) from error

    def _add(self, state: State, update: str, after: Measured) -> None:
        origin = {"sample": self.sample.id, "image_source": self.sample.image_source}
        place = {"layer": state.layer, "module": state.module, "update": update}
        self.rows.append(origin | place | _readings(self.before, after))


def _measured(matrix: Float[Tensor, "tokens features"], rank_rule: RankRule) -> Measured:
    decomposed = spectrum(matrix, rank_rule=rank_rule)
    return decomposed, _mixing_entropy(decomposed)


def _mixing_entropy(state: Spectrum) -> float:
    """TME, from the token Gram matrix where the decomposition has made it already."""
    if state.tokens <= state.features:
        return float(token_mixing_entropy_from_gram(state.gram))
    return float(token_mixing_entropy(state.matrix))


def _readings(before: Measured, after: Measured) -> dict:
    geometry = update_geometry(before[0], after[0])
    return {
        "tokens": after[0].tokens,
        "features": after[0].features,
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
