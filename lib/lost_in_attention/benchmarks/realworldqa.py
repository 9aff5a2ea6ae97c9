"""RealWorldQA: spatial questions on photographs; options and instruction stand in the question."""

import re
from collections.abc import Mapping
from functools import partial

from lost_in_attention.benchmarks.answers import final, letter, normalised, yes_no
from lost_in_attention.benchmarks.base import (
    Judgement,
    Published,
    Sample,
    picture,
    picture_name,
)
from lost_in_attention.benchmarks.benchmark import Benchmark
from lost_in_attention.benchmarks.numerals import exact_number, number, written
from lost_in_attention.benchmarks.values import expect

PUBLISHED = Published(
    key="realworldqa",
    hub="xai-org/RealworldQA",
    splits={"test": None},
    columns=("image", "question", "answer"),
    texts=("question", "answer"),
)
_OPTION = re.compile(r"^([A-Z])[.)] ?(.+)$", re.MULTILINE)


def prompt(row: Mapping) -> str:
    """The question, which holds options and instruction."""
    return row["question"]


def judge(reply: str, sample: Sample) -> Judgement:
    """A letter where there are options; otherwise yes or no, a number or the same words."""
    if sample.options:
        parsed = letter(reply, sample.options)
        return Judgement(parsed, parsed == sample.answer)
    gold = normalised(sample.answer)
    if gold in ("yes", "no"):
        parsed = yes_no(reply)
    elif (wanted := exact_number(gold)) is not None:
        gold, given = written(wanted), number(reply)
        parsed = None if given is None else written(given)
    else:
        parsed = normalised(final(reply)) or None
    return Judgement(parsed, parsed == gold)


def _sample(row: dict, index: int) -> Sample:
    options = dict(_OPTION.findall(row["question"]))
    answer = row["answer"].strip()
    return Sample(
        id=str(index),
        images=(picture(row, index),),
        question=row["question"],
        prompt=prompt(row),
        answer=expect(answer, tuple(options) or (answer,), index, "answer"),
        group="options" if options else "words",
        image_source=picture_name(row, f"row-{index}"),
        options=options,
    )


BENCHMARK = Benchmark(
    name=PUBLISHED.key,
    load=partial(PUBLISHED.samples, _sample),
    prompt=prompt,
    judges={"strict": judge},
    hub=PUBLISHED.hub,
    embedded=True,
)
