"""Ask a model a benchmark's questions and keep every reply."""

from collections.abc import Sequence

import pandas as pd
import torch
from tqdm import tqdm

from lost_in_attention.benchmarks import BENCHMARKS, Sample
from lost_in_attention.models import VisionLanguageModel


def evaluate(
    vlm: VisionLanguageModel,
    samples: Sequence[Sample],
    *,
    benchmark: str,
    batch_size: int = 50,
    max_new_tokens: int = 8,
) -> pd.DataFrame:
    """One row a question: model, benchmark, sample, group, image_source, prompt, reply,
    parsed, answer, correct.

    Decoding is greedy.  A reply that cannot be parsed is None in `parsed` and not correct.
    Raises ValueError on an unknown benchmark or no samples, before the model runs.
    """
    if benchmark not in BENCHMARKS:
        raise ValueError(f"benchmark: expected one of {sorted(BENCHMARKS)}, got {benchmark!r}")
    if not samples:
        raise ValueError("samples: expected at least one, got none")
    rows = []
    with tqdm(total=len(samples), desc=f"{vlm.name} on {benchmark}", unit="question") as bar:
        for start in range(0, len(samples), batch_size):
            batch = list(samples[start : start + batch_size])
            for sample, reply in zip(batch, replies(vlm, batch, max_new_tokens), strict=True):
                rows.append(_row(vlm, benchmark, sample, reply))
            bar.update(len(batch))
    return pd.DataFrame(rows)


@torch.inference_mode()
def replies(vlm: VisionLanguageModel, samples: Sequence[Sample], max_new_tokens: int) -> list[str]:
    """The model's greedy reply to each sample, in one batch."""
    inputs = vlm.prepare([s.image for s in samples], [s.prompt for s in samples])
    output = vlm.model.generate(**inputs, max_new_tokens=max_new_tokens, do_sample=False)
    new = output[:, inputs["input_ids"].shape[1] :]
    return [text.strip() for text in vlm.processor.batch_decode(new, skip_special_tokens=True)]


def _row(vlm: VisionLanguageModel, benchmark: str, sample: Sample, reply: str) -> dict:
    parsed = BENCHMARKS[benchmark].parse(reply)
    return {
        "model": vlm.name,
        "benchmark": benchmark,
        "sample": sample.id,
        "group": sample.group,
        "image_source": sample.image_source,
        "prompt": sample.prompt,
        "reply": reply,
        "parsed": parsed,
        "answer": sample.answer,
        "correct": parsed == sample.answer,
    }
