"""MMMU: college questions of many subjects, multiple choice and open, with up to seven images."""

import ast
import re
from collections.abc import Iterable, Mapping
from functools import partial

from lost_in_attention.benchmarks.answers import final, mentions, normalised
from lost_in_attention.benchmarks.base import (
    Judgement,
    Published,
    Sample,
    picture,
    picture_name,
)
from lost_in_attention.benchmarks.benchmark import Benchmark
from lost_in_attention.benchmarks.choices import BRIEFLY, DIRECTLY, judge_letter, lines
from lost_in_attention.benchmarks.numerals import exact_number, numbers, written
from lost_in_attention.benchmarks.official import accepts, last_letter, open_answers
from lost_in_attention.benchmarks.values import expect

KINDS = ("multiple-choice", "open")
IMAGES = tuple(f"image_{number}" for number in range(1, 8))
PUBLISHED = Published(
    key="mmmu",
    hub="lmms-lab/MMMU",
    splits={"validation": None, "dev": None},
    columns=("id", "question", "options", "answer", "question_type", "image_1"),
    texts=("id", "question", "answer", "question_type"),
    pictures=IMAGES,
)
_SIGN = r"(?:\b(?:could be|so|is|thus|therefore|final|answer|result)\b:?|=)"
_SIGNS = re.compile(_SIGN, re.IGNORECASE)
_SIGN_ENDS_LINE = re.compile(rf"({_SIGN})[:*\s]*\n\s*", re.IGNORECASE)
_MARKER = re.compile(r"<image (\d+)>")
_ID = re.compile(r"[a-z]+_(\w+)_\d+")


def options_of(row: Mapping) -> dict[str, str]:
    """The lettered options; the column holds a list written as a string."""
    texts = ast.literal_eval(row["options"])
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError("not a list of texts")
    return {chr(ord("A") + place): str(text) for place, text in enumerate(texts)}


def prompt(row: Mapping) -> str:
    """Markers "<image 1>" stay where they are: there the images stand."""
    if row["question_type"] == "open":
        return f"{row['question']}\n{BRIEFLY}"
    return "\n".join([row["question"], *lines(options_of(row)), DIRECTLY])


def judge(reply: str, sample: Sample) -> Judgement:
    """A letter, or for an open question any of the parsed candidates (a list, never a string)."""
    if sample.options:
        return judge_letter(reply, sample)
    found = candidates(reply)
    right = any(_accepts(found, gold) for gold in gold_answers(sample.answer))
    return Judgement(_listed(found), right)


def official(reply: str, sample: Sample) -> Judgement:
    """The letter that stands last; for an open question the script's own candidates."""
    if sample.options:
        parsed = last_letter(reply, sample.options)
        return Judgement(parsed, parsed == sample.answer)
    found = open_answers(reply)
    right = any(accepts(found, gold) for gold in gold_answers(sample.answer))
    return Judgement(_listed(sorted(found, key=str)), right)


def _listed(found: Iterable[str | float]) -> str | None:
    texts = [each if isinstance(each, str) else written(each) for each in found]
    return " | ".join(dict.fromkeys(texts)) or None


def candidates(reply: str) -> list[str | float]:
    """What an open reply may mean: what stands last after "is", "so", "=" ... in each line (in
    the next line, where the sign ends one), or the whole lines where there is no such sign; and
    the numbers in that."""
    lines = _SIGN_ENDS_LINE.sub(r"\1 ", final(reply)).splitlines()
    signed = [normalised(_SIGNS.split(line)[-1]) for line in lines if _SIGNS.search(line)]
    parts = list(filter(None, signed)) or list(filter(None, map(normalised, lines)))
    return [*parts, *(value for part in parts for value in numbers(part))]


def gold_answers(answer: str) -> list[str]:
    """The accepted answers; several are published as a list written as a string."""
    try:
        several = ast.literal_eval(answer)
    except (SyntaxError, ValueError):
        return [answer]
    return [str(each) for each in several] if isinstance(several, list) else [answer]


def _accepts(found: list[str | float], gold: str) -> bool:
    """A number is compared to two decimals, words must stand in a candidate (as published)."""
    wanted = exact_number(gold)
    if wanted is None:
        return any(mentions(each, gold) for each in found if isinstance(each, str))
    return any(round(each, 2) == round(wanted, 2) for each in found if isinstance(each, float))


def _sample(row: dict, index: int) -> Sample:
    is_open = expect(row["question_type"], KINDS, index, "question_type") == "open"
    options = {} if is_open else _options(row, index)
    answer = row["answer"]
    text = prompt(row)
    present = _present(row, index, text)
    return Sample(
        id=row["id"],
        images=tuple(picture(row, index, column) for column in present),
        question=row["question"],
        prompt=text,
        answer=answer if is_open else expect(answer, tuple(options), index, "answer"),
        group=_subject(row, index),
        image_source=picture_name(row, f"row-{index}", present[0]) if present else f"row-{index}",
        options=options,
    )


def _present(row: dict, index: int, text: str) -> list[str]:
    """The columns with a picture; every marker in the text must have its own among them."""
    present = [column for column in IMAGES if row.get(column)]
    for number in _MARKER.findall(text):
        if f"image_{number}" not in present:
            raise ValueError(
                f"row {index}, column 'image_{number}': expected a picture for the marker "
                f"<image {number}>, got none"
            )
    return present


def _subject(row: dict, index: int) -> str:
    found = _ID.fullmatch(row["id"])
    if not found:
        raise ValueError(
            f"row {index}, column 'id': expected such as 'validation_Art_1', got {row['id']!r}"
        )
    return found[1]


def _options(row: dict, index: int) -> dict[str, str]:
    try:
        return options_of(row)
    except (SyntaxError, TypeError, ValueError) as error:
        raise ValueError(
            f"row {index}, column 'options': expected a list as text, got {row['options']!r}"
        ) from error


BENCHMARK = Benchmark(
    name=PUBLISHED.key,
    load=partial(PUBLISHED.samples, _sample),
    prompt=prompt,
    judges={"strict": judge, "official": official},
    hub=PUBLISHED.hub,
    embedded=True,
)
