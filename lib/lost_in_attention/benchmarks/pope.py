"""POPE: is an object in the image, yes or no? (Li et al., 2023; Appendix C.1).

Each answer is scored within its kind of negative: random, popular or adversarial.
"""

from collections.abc import Mapping
from functools import partial

import pandas as pd

from lost_in_attention.benchmarks.base import (
    Judgement,
    Published,
    Sample,
    picture,
)
from lost_in_attention.benchmarks.benchmark import Benchmark
from lost_in_attention.benchmarks.choices import BRIEFLY, judge_yes_no
from lost_in_attention.benchmarks.official import first_sentence
from lost_in_attention.benchmarks.values import expect

PUBLISHED = Published(
    key="pope",
    hub="lmms-lab/POPE",
    splits={"test": "default", "adversarial": "Full", "popular": "Full", "random": "Full"},
    columns=("question_id", "question", "answer", "image_source", "image", "category"),
    texts=("question", "answer", "image_source", "category"),
    names=("question_id",),
)


def prompt(row: Mapping) -> str:
    """The question, and the instruction to be brief."""
    return f"{row['question']}\n{BRIEFLY}"


def official(reply: str, sample: Sample) -> Judgement:
    """Yes, unless the first sentence says no or not."""
    parsed = first_sentence(reply)
    return Judgement(parsed, parsed == sample.answer)


def score(table: pd.DataFrame) -> dict[str, float]:
    """Accuracy, precision, recall and F1 of "yes", yes-ratio of the predictions, unparsed.

    Precision, recall and F1 are nan where they would divide by zero.
    """
    says_yes, is_yes = table["parsed"] == "yes", table["answer"] == "yes"
    hits = float((says_yes & is_yes).sum())
    wrong = float((says_yes ^ is_yes).sum())
    return {
        "accuracy": float(table["correct"].mean()),
        "precision": _ratio(hits, float(says_yes.sum())),
        "recall": _ratio(hits, float(is_yes.sum())),
        "f1": _ratio(2 * hits, 2 * hits + wrong),
        "yes_ratio": float(says_yes.mean()),
        "unparsed": float(table["parsed"].isna().mean()),
    }


def _sample(row: dict, index: int) -> Sample:
    return Sample(
        id=f"{row['category']}-{row['question_id']}",
        images=(picture(row, index),),
        question=row["question"],
        prompt=prompt(row),
        answer=expect(str(row["answer"]).lower(), ("yes", "no"), index, "answer"),
        group=row["category"],
        image_source=row["image_source"],
    )


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")


BENCHMARK = Benchmark(
    name=PUBLISHED.key,
    load=partial(PUBLISHED.samples, _sample),
    prompt=prompt,
    judges={"strict": judge_yes_no, "official": official},
    score=score,
    hub=PUBLISHED.hub,
    embedded=True,
)
