"""MathVista: figures to be calculated with (Lu et al., 2024).

Published scores let a language model extract the answer from the reply.  Here rules do, so
long replies are understood less often: see `unparsed`.
"""

from collections.abc import Mapping
from pathlib import Path

from lost_in_attention.benchmarks.answers import choice, final, normalised
from lost_in_attention.benchmarks.base import (
    Judgement,
    Published,
    Sample,
    Samples,
    picture,
    picture_name,
)
from lost_in_attention.benchmarks.benchmark import Benchmark
from lost_in_attention.benchmarks.numerals import exact_number, number, written
from lost_in_attention.benchmarks.values import check_values, expect, is_option, is_text

PUBLISHED = Published(
    key="mathvista",
    hub="AI4Math/MathVista",
    splits={"testmini": None},
    columns=(
        "pid", "question", "choices", "unit", "precision", "answer", "question_type",
        "answer_type", "decoded_image",
    ),
    texts=("question", "answer", "question_type", "answer_type"),
    names=("pid",),
    pictures=("decoded_image",),
)  # fmt: skip
_HINTS = {
    "multi_choice": "Please answer the question and provide the correct option letter, e.g., "
    "A, B, C, D, at the end.",
    "integer": "Please answer the question requiring an integer answer and provide the final "
    "value, e.g., 1, 2, 3, at the end.",
    "float": "Please answer the question requiring a floating-point number with {places} decimal "
    "{noun} and provide the final value, e.g., {examples}, at the end.",
    "list": "Please answer the question requiring a Python list as an answer and provide the "
    "final list, e.g., [1, 2, 3], [1.2, 1.3, 1.4], at the end.",
    "text": "Please answer the question and provide the final value at the end.",
}

# Decimal places in words, and the examples of the published hints.
_PLACES = {1: ("one", "place", "1.2, 1.3, 1.4"), 2: ("two", "places", "1.23, 1.34, 1.45")}
_QUESTIONS = ("multi_choice", "free_form")
_ANSWERS = ("text", "integer", "float", "list")


def load(source: str | Path = "digits", split: str | None = None) -> Samples:
    """The questions of a split, once choices, units and precisions are right."""
    table = PUBLISHED.read(source, split)
    check_values(table, ["choices"], _is_choices, "a list of texts or none")
    check_values(table, ["unit"], is_option, "text or none")
    asked = zip(table["answer_type"][:], table["precision"][:], strict=True)
    for index, (kind, precision) in enumerate(asked):
        if kind == "float":
            _check_precision(precision, index)
    return Samples(table, _sample, range(len(table)))


def _is_choices(value: object) -> bool:
    return value is None or (isinstance(value, list) and all(map(is_text, value)))


def options_of(row: Mapping) -> dict[str, str]:
    """The choices under letters."""
    return {chr(ord("A") + place): str(text) for place, text in enumerate(row["choices"] or [])}


def prompt(row: Mapping) -> str:
    """Hint, question with its unit, choices."""
    question = f"Question: {row['question']}"
    if row["unit"]:
        question += f" (Unit: {row['unit']})"
    choices = [f"({name}) {text}" for name, text in options_of(row).items()]
    return "\n".join(
        [f"Hint: {_hint(row)}", question, *(["Choices:", *choices] if choices else [])]
    )


def judge(reply: str, sample: Sample) -> Judgement:
    """A choice by letter or text; a number to the row's precision; otherwise equal words."""
    if sample.options:
        parsed = choice(reply, sample.options)
        return Judgement(parsed, parsed == sample.answer)
    if sample.fields["answer_type"] in ("integer", "float"):
        value = number(reply)
        parsed = None if value is None else _rounded(value, sample.fields)
        return Judgement(parsed, parsed == _rounded(exact_number(sample.answer), sample.fields))
    text = normalised(final(reply)).replace(" ", "")
    return Judgement(text or None, text == normalised(sample.answer).replace(" ", ""))


def _rounded(value: float, fields: Mapping[str, str]) -> str:
    """An integer as it is (5.4 is not 5); a float to the row's number of decimal places."""
    if fields["answer_type"] == "integer":
        return written(value)
    places = _places(fields["precision"])
    return f"{round(value, places) + 0.0:.{places}f}"


def _places(precision: float | str | None) -> int:
    """The number of decimal places, two if not said; the column holds a float such as 2.0."""
    return int(float(precision or len(_PLACES)))


def _check_precision(value: object, index: int) -> None:
    """Raise ValueError unless it is one or two, which the hints have words for, or not said."""
    if value is not None and value not in _PLACES:
        raise ValueError(
            f"row {index}, column 'precision': expected one of {list(_PLACES)} or none, "
            f"got {value!r}"
        )


def _hint(row: Mapping) -> str:
    if row["question_type"] == "multi_choice":
        return _HINTS["multi_choice"]
    if row["answer_type"] != "float":
        return _HINTS.get(row["answer_type"], _HINTS["text"])
    words, noun, examples = _PLACES[_places(row["precision"])]
    return _HINTS["float"].format(places=words, noun=noun, examples=examples)


def _gold(row: dict, options: Mapping[str, str], index: int) -> str:
    """The text of a choice, or a number where one is asked for."""
    answer = row["answer"].strip()
    expect(row["question_type"], _QUESTIONS, index, "question_type")
    expect(row["answer_type"], _ANSWERS, index, "answer_type")
    if options:
        return expect(answer, tuple(options.values()), index, "answer")
    if row["answer_type"] in ("integer", "float") and exact_number(answer) is None:
        raise ValueError(f"row {index}, column 'answer': expected a number, got {answer!r}")
    return answer


def _sample(row: dict, index: int) -> Sample:
    options = {name: text.strip() for name, text in options_of(row).items()}
    answer = _gold(row, options, index)
    precision = "" if row["precision"] is None else str(row["precision"])
    return Sample(
        id=str(row["pid"]),
        images=(picture(row, index, "decoded_image"),),
        question=row["question"],
        prompt=prompt(row),
        answer=answer,
        group=row["question_type"],
        image_source=picture_name(row, f"row-{index}", "decoded_image"),
        options=options,
        fields={"answer_type": row["answer_type"], "precision": precision},
    )


BENCHMARK = Benchmark(
    name=PUBLISHED.key,
    load=load,
    prompt=prompt,
    judges={"strict": judge},
    hub=PUBLISHED.hub,
    embedded=True,
)
