"""HallusionBench: the same question on an image and on its edited twin (Guan et al., 2024)."""

from collections.abc import Mapping
from functools import partial

import pandas as pd

from lost_in_attention.benchmarks.base import (
    Published,
    Sample,
    picture,
)
from lost_in_attention.benchmarks.benchmark import Benchmark
from lost_in_attention.benchmarks.choices import judge_yes_no
from lost_in_attention.benchmarks.scores import all_right
from lost_in_attention.benchmarks.values import expect

PUBLISHED = Published(
    key="hallusionbench",
    hub="lmms-lab/HallusionBench",
    splits={"image": None, "non_image": None},
    columns=(
        "category", "subcategory", "set_id", "figure_id", "question_id", "question",
        "gt_answer", "image",
    ),
    texts=("category", "subcategory", "question", "gt_answer"),
    names=("set_id", "figure_id", "question_id"),
)  # fmt: skip
_SET = ("category", "subcategory", "set_id")
_FIGURE = (*_SET, "figure_id")
_KEYS = (*_FIGURE, "question_id")


def prompt(row: Mapping) -> str:
    """The question alone."""
    return row["question"]


def score(table: pd.DataFrame) -> dict[str, float]:
    """aAcc over all answers (as accuracy), qAcc: a question is right on all its figures, fAcc:
    all questions on a figure are right; unparsed.

    In a draw, a question or figure counts by those of its rows that were drawn.
    """
    return {
        "accuracy": float(table["correct"].mean()),
        "question_accuracy": all_right(table, [*_SET, "question_id"]),
        "figure_accuracy": all_right(table, list(_FIGURE)),
        "unparsed": float(table["parsed"].isna().mean()),
    }


def _sample(row: dict, index: int) -> Sample:
    fields = {key: str(row[key]) for key in _KEYS}
    return Sample(
        id="-".join(fields.values()),
        images=(picture(row, index),) if row["image"] is not None else (),
        question=row["question"],
        prompt=prompt(row),
        answer="yes" if expect(row["gt_answer"], ("0", "1"), index, "gt_answer") == "1" else "no",
        group=row["category"],
        image_source="-".join(str(row[key]) for key in _FIGURE),
        fields=fields,
    )


BENCHMARK = Benchmark(
    name=PUBLISHED.key,
    load=partial(PUBLISHED.samples, _sample),
    prompt=prompt,
    judges={"strict": judge_yes_no},
    score=score,
    hub=PUBLISHED.hub,
    embedded=True,
)
