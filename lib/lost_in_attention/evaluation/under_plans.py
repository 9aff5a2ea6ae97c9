"""Every variant's answers to the same questions, from one preparation of each batch."""

from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from lost_in_attention.benchmarks import Sample
from lost_in_attention.evaluation.decoding import GREEDY, Decoding, Reply, replies_to
from lost_in_attention.evaluation.grid import Variant
from lost_in_attention.evaluation.lane import Asking
from lost_in_attention.evaluation.stored import facts_of
from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.sap import encoded, shared_attention_prior
from lost_in_attention.sap.first_layers import kept_layers, replayed


def answer_under(
    vlm: VisionLanguageModel,
    samples: Sequence[Sample],
    *,
    benchmark: str,
    variants: Sequence[Variant],
    decoding: Decoding = GREEDY,
    seed: int = 0,
    batch_size: int = 50,
    output: Path | None = None,
    resume: bool = False,
) -> pd.DataFrame:
    """One row a question and variant, in this order: model, benchmark, sample, group (the
    question's type), image_source, prompt, reply, finished, parsed, answer (the gold answer),
    correct, the sample's fields, variant, preset, noise_seed, and where attention was replaced:
    first_layer, last_layer, low_head, high_head (missing without a plan).

    Judging is the benchmark's own.  `seed` matters where `decoding` samples: all variants of a
    batch then draw from the same random numbers.  `output` and `resume` are those of
    `batches.in_batches`.

    Raises, before the model runs:
        ValueError: an unknown benchmark, no samples, no variants or one twice, a plan that the
            model cannot run under, with `output` a prior of yours that its source does not tell
            apart (`told_apart`), a bad number, and what `in_batches` raises.
        FileExistsError: a run lies in `output` and `resume` is False.
    """
    variants = list(variants)
    asking = Asking(vlm, samples, benchmark, decoding, seed, batch_size)
    _check(vlm, variants)
    settings = facts_of(variants) if output else {}

    def answered(batch: list[Sample], batch_seed: int) -> list[list[Reply]]:
        return _Batch(vlm, batch, decoding, batch_seed).replies(variants)

    return asking.table(
        answered,
        [_columns(variant) for variant in variants],
        output=output,
        resume=resume,
        **settings,
    )


def _check(vlm: VisionLanguageModel, variants: list[Variant]) -> None:
    """Raise ValueError unless there are variants, each once, that this model can run under."""
    if not variants or len(set(variants)) < len(variants):
        raise ValueError(
            "variants: expected at least one, each once, "
            f"got {[variant.label for variant in variants]}"
        )
    for variant in variants:
        with _under(vlm, variant):
            pass


def _under(vlm: VisionLanguageModel, variant: Variant):
    return shared_attention_prior(vlm, variant.plan) if variant.plan else nullcontext(vlm)


@dataclass(frozen=True)
class _Batch:
    """Questions prepared once, with their images and with blank ones."""

    vlm: VisionLanguageModel
    samples: list[Sample]
    decoding: Decoding
    seed: int

    @cached_property
    def seen(self):
        return self._prepared(self.samples)

    @cached_property
    def unseen(self):
        return self._prepared([sample.blanked() for sample in self.samples])

    def replies(self, variants: list[Variant]) -> list[list[Reply]]:
        """For each variant the replies to all questions.

        The unchanged model answers first; where it does, every plan starts at its first layer.
        Two variants of one plan, such as a range of layers that is the preset's, are asked once.
        """
        replies, kept = {}, None
        starts = {variant.plan.layers[0] for variant in variants if variant.plan} - {0}
        for variant in sorted(variants, key=lambda each: each.plan is not None):
            if (variant.plan, variant.blank) in replies:
                continue
            start = variant.plan.layers[0] if variant.plan else 0
            inputs = self.unseen if variant.blank else self.seen
            with ExitStack() as blocks:
                if kept and start:
                    blocks.enter_context(replayed(self.vlm, kept, start))
                elif variant.plan is None and not variant.blank:
                    kept = blocks.enter_context(kept_layers(self.vlm, starts))
                vlm = blocks.enter_context(_under(self.vlm, variant))
                found = replies_to(vlm, inputs, self.decoding, seed=self.seed)
            replies[variant.plan, variant.blank] = found
        return [replies[variant.plan, variant.blank] for variant in variants]

    def _prepared(self, samples: list[Sample]):
        inputs = self.vlm.prepare([s.images for s in samples], [s.prompt for s in samples])
        return encoded(self.vlm, inputs)


def _columns(variant: Variant) -> dict[str, str | float | None]:
    """Which variant it is, and where attention was replaced."""
    place = dict.fromkeys(("first_layer", "last_layer", "low_head", "high_head"))
    if variant.plan is not None:
        (first, last), (low, high) = variant.plan.layers, variant.plan.heads
        place = {"first_layer": first, "last_layer": last, "low_head": low, "high_head": high}
    return {
        "variant": variant.name,
        "preset": variant.preset,
        "noise_seed": variant.noise_seed,
    } | place
