"""VMCBench: twenty datasets turned into four options each, in groups."""

from collections.abc import Mapping
from functools import partial

import pandas as pd

from lost_in_attention.benchmarks.base import (
    Judgement,
    Published,
    Sample,
    picture,
    picture_name,
)
from lost_in_attention.benchmarks.benchmark import Benchmark
from lost_in_attention.benchmarks.choices import judge_letter, lines, options_of
from lost_in_attention.benchmarks.official import last_letter
from lost_in_attention.benchmarks.values import expect

PUBLISHED = Published(
    key="vmcbench",
    hub="suyc21/VMCBench",
    splits={"test": None, "dev": None},
    columns=("index", "question", "A", "B", "C", "D", "answer", "category", "image"),
    texts=("question", "answer", "category"),
    names=("index",),
    options=("A", "B", "C", "D"),
)
# The groups of the published datasets; below them those of the embedded question kinds, first of
# digits (Colour, Count, Comparison, String), then of pictures.
GROUPS = {
    "general": ("SEEDBench", "MMStar", "A-OKVQA", "VizWiz", "MMVet", "VQAv2", "OKVQA",
                "Colour", "Count",
                "Seen", "Unseen", "Kind", "Part", "Neighbour", "Use"),
    "reason": ("MMMU", "MathVista", "ScienceQA", "RealWorldQA", "GQA", "MathVision",
               "Comparison",
               "Smallest", "Leftmost", "Topmost", "Most", "Odd one out"),
    "ocr": ("TextVQA", "OCRVQA", "String", "Row", "Column"),
    "doc": ("AI2D", "ChartQA", "DocVQA", "InfoVQA", "TableVQABench",
            "Table cell", "Table row", "Chart value", "Chart most", "Chart least"),
}  # fmt: skip

_LISTED = ("({})", "{}. ")


def prompt(row: Mapping) -> str:
    """The wording of the paper's release."""
    return "\n".join(
        [
            f"Question: {row['question']}",
            "Options:",
            *lines(options_of(row)),
            "Answer ONLY option's letter from the given choices.",
        ]
    )


def official(reply: str, sample: Sample) -> Judgement:
    """The letter that stands last."""
    parsed = last_letter(reply, sample.options, _LISTED)
    return Judgement(parsed, parsed == sample.answer)


def score(table: pd.DataFrame) -> dict[str, float]:
    """The mean of the datasets' means (the paper's AVG) as accuracy; the mean over all samples;
    each dataset's mean; each group's mean of means; unparsed."""
    means = table.groupby("group")["correct"].mean()
    groups = {
        f"accuracy/group {name}": float(means[means.index.isin(members)].mean())
        for name, members in GROUPS.items()
        if means.index.isin(members).any()
    }
    return {
        "accuracy": float(means.mean()),
        "sample_accuracy": float(table["correct"].mean()),
        **{f"accuracy/{name}": float(value) for name, value in means.items()},
        **groups,
        "unparsed": float(table["parsed"].isna().mean()),
    }


def weights(table: pd.DataFrame) -> pd.Series:
    """The weight of each question in the mean of the datasets' means; 1 on average.

    A question of a dataset with n_d of the N questions, among D datasets, weighs N / (D n_d).
    """
    sizes = table.groupby("group")["correct"].transform("size")
    return len(table) / (table["group"].nunique() * sizes)


def _sample(row: dict, index: int) -> Sample:
    options = options_of(row)
    return Sample(
        id=str(row["index"]),
        images=(picture(row, index),),
        question=row["question"],
        prompt=prompt(row),
        answer=expect(row["answer"], tuple(options), index, "answer"),
        group=row["category"],
        image_source=picture_name(row, f"row-{index}"),
        options=options,
    )


BENCHMARK = Benchmark(
    name=PUBLISHED.key,
    load=partial(PUBLISHED.samples, _sample),
    prompt=prompt,
    judges={"strict": judge_letter, "official": official},
    score=score,
    weights=weights,
    hub=PUBLISHED.hub,
    embedded=True,
)
