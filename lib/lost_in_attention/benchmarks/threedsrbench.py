"""3DSRBench: how objects lie to each other in space, with flipped and turned variants.

The `qid` of a question's variants is that of the question with "-flip" after it for the mirrored
image, then "-1", "-2" ... for options turned round: "VIN6MS3J", "VIN6MS3J-1", "VIN6MS3J-flip",
"VIN6MS3J-flip-1".  Rows that differ in the order of options alone may also share one `qid`.
"""

import re
from collections.abc import Mapping
from functools import partial

import pandas as pd

from lost_in_attention.benchmarks.base import (
    Published,
    Sample,
    picture,
    picture_name,
)
from lost_in_attention.benchmarks.benchmark import Benchmark
from lost_in_attention.benchmarks.choices import judge_letter, lines, options_of
from lost_in_attention.benchmarks.scores import all_right, plain
from lost_in_attention.benchmarks.values import expect

PUBLISHED = Published(
    key="3dsrbench",
    hub="ccvl/3DSRBench",
    splits={"test": "benchmark"},
    columns=("index", "question", "A", "B", "answer", "category", "image|image_url"),
    texts=("question", "A", "B", "answer", "category"),
    names=("index", "qid"),
    options=("C", "D"),
    pictures=("image", "image_url"),
    configurations={"oscarqjh/3DSRBench_lmmseval": "3dsr_circular"},
)
GROUPS = ("height", "location", "orientation", "multi_object")
_FLIP = "-flip"
_TURN = r"-\d+$"


def prompt(row: Mapping) -> str:
    """Question, options and instruction."""
    return "\n".join(
        [
            f"Question: {row['question']}",
            "Options:",
            *lines(options_of(row)),
            "Please select the correct answer from the options above.",
        ]
    )


def score(table: pd.DataFrame) -> dict[str, float]:
    """Accuracy over all rows, per category and per group of categories; the share of questions
    that are right in all orders of the options (circular), on both images (flip), in both ways.

    Where rows of several orders share a `qid`, flip asks for all of them.  In a draw, a question
    counts by those of its variants that were drawn.
    """
    unturned = table["qid"].str.replace(_TURN, "", regex=True)
    keys = {
        "circular_accuracy": unturned,
        "flip_accuracy": table["qid"].str.replace(_FLIP, "", regex=False),
        "flip_circular_accuracy": unturned.str.replace(_FLIP, "", regex=False),
    }
    parts = {name: table["group"].str.startswith(name) for name in GROUPS}
    return {
        **plain(table),
        **{
            f"accuracy/group {name}": float(table.loc[part, "correct"].mean())
            for name, part in parts.items()
            if part.any()
        },
        **{name: all_right(table.assign(key=key), ["key"]) for name, key in keys.items()},
    }


def _sample(row: dict, index: int) -> Sample:
    options = options_of(row)
    column = "image" if row.get("image") else "image_url"
    qid = str(row.get("qid") or row["index"])
    question = re.sub(_TURN, "", qid).replace(_FLIP, "")
    return Sample(
        id=str(row["index"]),
        images=(picture(row, index, column),),
        question=row["question"],
        prompt=prompt(row),
        answer=expect(row["answer"], tuple(options), index, "answer"),
        group=row["category"],
        image_source=picture_name(row, question, column),
        options=options,
        fields={"qid": qid},
    )


BENCHMARK = Benchmark(
    name=PUBLISHED.key,
    load=partial(PUBLISHED.samples, _sample),
    prompt=prompt,
    judges={"strict": judge_letter},
    score=score,
    hub=PUBLISHED.hub,
    embedded=True,
)
