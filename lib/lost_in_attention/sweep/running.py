"""Every variant's answers to the same questions, from one preparation of each batch."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from lost_in_attention.batched import in_batches, settings_of
from lost_in_attention.benchmarks import BENCHMARKS, Sample
from lost_in_attention.decoding import GREEDY, replies_to
from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.sap import encoded_once, shared_attention_prior
from lost_in_attention.sweep.variants import Variant

# Greedy replies need no seed; `replies_to` asks for one.
_NO_SEED = 0


def answer_under(
    vlm: VisionLanguageModel,
    samples: Sequence[Sample],
    *,
    benchmark: str,
    variants: Sequence[Variant],
    batch_size: int = 50,
    output: Path | None = None,
    resume: bool = False,
) -> pd.DataFrame:
    """One row a question and variant, in this order: model, benchmark, sample, image_source,
    group (the question's type), variant, preset, noise_seed, reply, parsed, answer (the gold
    answer), correct, and where attention was replaced: first_layer, last_layer, low_head,
    high_head (missing without a plan).

    Replies are greedy; prompts and judging are the benchmark's own.  `output` and `resume` are
    those of `batched.in_batches`.

    Raises, before the model runs:
        ValueError: an unknown benchmark, no samples, no variants or one twice, and what
            `in_batches` raises.
        FileExistsError: a run lies in `output` and `resume` is False.
    """
    task = _Task(vlm, samples, benchmark, list(variants), batch_size)
    rows = in_batches(
        task.answer,
        samples,
        batch_size=batch_size,
        settings=task.settings,
        device=vlm.device,
        label=f"{vlm.name} on {benchmark}, {len(variants)} variants",
        rows_each=len(variants),
        output=output,
        resume=resume,
    )
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class _Task:
    """What is asked of whom and how; refuses what cannot be asked."""

    vlm: VisionLanguageModel
    samples: Sequence[Sample]
    benchmark: str
    variants: list[Variant]
    batch_size: int

    def __post_init__(self) -> None:
        if self.benchmark not in BENCHMARKS:
            known = sorted(BENCHMARKS)
            raise ValueError(f"benchmark: expected one of {known}, got {self.benchmark!r}")
        if not self.variants or len(set(self.variants)) < len(self.variants):
            raise ValueError(
                "variants: expected at least one, each once, "
                f"got {[variant.label for variant in self.variants]}"
            )

    def settings(self) -> dict:
        """What decides the rows, for the run's file."""
        own = {
            "benchmark": self.benchmark,
            "variants": [f"{v.name}, {v.preset}: {v.label}" for v in self.variants],
            "decoding": asdict(GREEDY),
        }
        return settings_of(self.vlm, self.samples, self.batch_size, GREEDY) | own

    def answer(self, _number: int, batch: list[Sample]) -> list[dict]:
        """The rows of a batch, variant by variant for each question."""
        questions, replies = _Batch(self.vlm, batch), {}
        with encoded_once(self.vlm):
            # Only the latest images stay encoded, so blank ones come last.
            for variant in sorted(self.variants, key=lambda variant: variant.blank):
                replies[variant] = questions.replies(variant)
        return [
            self._row(sample, variant, replies[variant][number])
            for number, sample in enumerate(batch)
            for variant in self.variants
        ]

    def _row(self, sample: Sample, variant: Variant, reply: str) -> dict:
        parsed, correct = BENCHMARKS[self.benchmark].judge(reply, sample)
        return {
            "model": self.vlm.name,
            "benchmark": self.benchmark,
            "sample": sample.id,
            "image_source": sample.image_source,
            "group": sample.group,
            "variant": variant.name,
            "preset": variant.preset,
            "noise_seed": variant.noise_seed,
            "reply": reply,
            "parsed": parsed,
            "answer": sample.answer,
            "correct": correct,
            **_place(variant),
        }


@dataclass(frozen=True)
class _Batch:
    """Questions prepared once, with their images and with blank ones."""

    vlm: VisionLanguageModel
    samples: list[Sample]

    @cached_property
    def seen(self):
        return self._prepared(self.samples)

    @cached_property
    def unseen(self):
        return self._prepared([sample.blanked() for sample in self.samples])

    def replies(self, variant: Variant) -> list[str]:
        inputs = self.unseen if variant.blank else self.seen
        plan = variant.plan
        with shared_attention_prior(self.vlm, plan) if plan else nullcontext(self.vlm) as vlm:
            return replies_to(vlm, inputs, GREEDY, seed=_NO_SEED)

    def _prepared(self, samples: list[Sample]):
        return self.vlm.prepare([s.images for s in samples], [s.prompt for s in samples])


def _place(variant: Variant) -> dict[str, float | None]:
    """Where attention was replaced."""
    if variant.plan is None:
        return dict.fromkeys(("first_layer", "last_layer", "low_head", "high_head"))
    (first, last), (low, high) = variant.plan.layers, variant.plan.heads
    return {"first_layer": first, "last_layer": last, "low_head": low, "high_head": high}
