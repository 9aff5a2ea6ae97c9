"""Every measurement that pages read, by name; the one that needs answers stands here."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from lost_in_attention.benchmarks import Sample
from lost_in_attention.evaluation.decoding import GREEDY, replies
from lost_in_attention.evaluation.lane import Asking
from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.residual.baselines import without_rope
from lost_in_attention.residual.measurements import (
    Averaging,
    Baselines,
    Measurement,
    Readings,
    Tolerance,
    Updates,
)


@dataclass(frozen=True)
class RotaryAnswers:
    """Judged replies to a benchmark's questions with and without rotary embedding (column rotary:
    on, off).  Raises ValueError on an unknown benchmark, where it runs."""

    name: ClassVar[str] = "rotary_answers"
    questions: ClassVar[int] = 60
    benchmark: str = "pope"

    def rows(self, vlm: VisionLanguageModel, batch: Sequence[Sample], seed: int) -> list[dict]:
        """Columns sample, image_source, rotary, reply, correct; nothing hangs on the seed."""
        rows = self._answered(vlm, batch, "on")
        with without_rope(vlm) as bare:
            return rows + self._answered(bare, batch, "off")

    def _answered(
        self, vlm: VisionLanguageModel, batch: Sequence[Sample], rotary: str
    ) -> list[dict]:
        asking = Asking(vlm, batch, self.benchmark)
        said = replies(vlm, batch, GREEDY, seed=0)
        judged = [asking.row(sample, reply) for sample, reply in zip(batch, said, strict=True)]
        kept = ("sample", "image_source", "reply", "correct")
        return [{key: row[key] for key in kept} | {"rotary": rotary} for row in judged]


MEASUREMENTS: Mapping[str, Callable[[str], Measurement]] = MappingProxyType({
    "updates": lambda _: Updates(),
    "baselines": lambda _: Baselines(),
    "averaging": lambda _: Averaging(),
    "tolerance": lambda _: Tolerance(),
    "rotary_answers": RotaryAnswers,
    "readings": lambda _: Readings(),
})  # fmt: skip
"""Each as the pages read it, for the questions of a benchmark."""

# Those that put noise in the place of weights (`noise_qkv`), which must be there as numbers.
OF_WEIGHTS = ("baselines", "averaging", "readings")
