"""One sample on its way through the states: a row for every update that it meets.

A state is decomposed once; it serves as X' of the update that made it and as X of the next.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from jaxtyping import Bool, Float
from torch import Tensor

from lost_in_attention.benchmarks import Sample
from lost_in_attention.metrics.rid import NonFiniteError, RankRule, Spectrum, spectrum
from lost_in_attention.residual.controls import Control
from lost_in_attention.residual.metrics import ChosenMetrics, Update
from lost_in_attention.residual.stream import State

OWN = "own"


@dataclass
class Tracker:
    """Collects the rows of one sample; `mask` says which of its tokens count."""

    sample: Sample
    mask: Bool[Tensor, " tokens"]
    rank_rule: RankRule
    controls: Mapping[str, Control]
    metrics: ChosenMetrics
    rows: list[dict] = field(default_factory=list)
    before: Spectrum | None = None

    def visit(self, state: State, hidden: Float[Tensor, "tokens features"]) -> None:
        """Measure the update that led to this state, and every control in its place.

        Raises NonFiniteError naming sample, layer and module of a NaN or an infinity, ValueError
        naming them where a state is zero everywhere, or what a control or a metric says of its
        update.
        """
        with self._located(state):
            after = spectrum(hidden[self.mask], rank_rule=self.rank_rule)
            if self.before is not None:
                self._add(state, OWN, Update(self.before, after))
                x = self.before.matrix
                for name, control in self.controls.items():
                    changed = spectrum(x + control(x, after.matrix - x), rank_rule=self.rank_rule)
                    self._add(state, name, Update(self.before, changed))
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

    def _add(self, state: State, name: str, update: Update) -> None:
        self.rows.append({
            "sample": self.sample.id,
            "image_source": self.sample.image_source,
            "layer": state.layer,
            "module": state.module,
            "update": name,
            "tokens": update.after.tokens,
            "features": update.after.features,
            **self.metrics.columns_of(update),
        })  # fmt: skip
