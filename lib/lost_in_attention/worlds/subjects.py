"""Questions of several subjects in MMMU's schema, multiple choice and open."""

import ast
from collections.abc import Sequence

import numpy as np

from lost_in_attention.worlds.facts import lettered

MARKER = "<image 1> "
Question = dict[str, str]


def by_letter(
    subject: str,
    field: str,
    text: str,
    answer: str,
    others: Sequence[str],
    rng: np.random.Generator,
) -> Question:
    """A multiple-choice question; its options are a list as a string."""
    options, letter = lettered(answer, others, rng)
    return {
        "subject": subject,
        "question": text,
        "options": str(list(options.values())),
        "answer": letter,
        "question_type": "multiple-choice",
        "subfield": field,
    }


def by_word(subject: str, field: str, text: str, answer: str) -> Question:
    """An open question."""
    return {
        "subject": subject,
        "question": text,
        "options": "[]",
        "answer": answer,
        "question_type": "open",
        "subfield": field,
    }


def options(row: Question) -> list[str]:
    """The options as a list; empty for an open question."""
    return ast.literal_eval(row["options"])
