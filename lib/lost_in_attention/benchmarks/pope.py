"""POPE: is an object in the image, yes or no? (Li et al., 2023; Appendix C.1).

Rows as in `lmms-lab/POPE`.  Each answer is scored within its kind of negative: random,
popular or adversarial.
"""

import re
from pathlib import Path

import pandas as pd

from lost_in_attention.benchmarks.base import Sample, Samples, read_rows
from lost_in_attention.paths import data_folder

COLUMNS = ("id", "question_id", "question", "answer", "image_source", "image", "category")
INSTRUCTION = "Answer the question using a single word or phrase."


def load_pope(source: str | Path = "digits") -> Samples:
    """The questions of the test split, all three kinds of negatives.

    `source` is "digits" for the embedded set, a folder of Parquet files, or a hub id.
    A gold answer that is neither yes nor no raises ValueError, naming the row, when its
    sample is asked for.
    """
    folder = data_folder() / "digits" / "pope" if source == "digits" else source
    table = read_rows(folder, split="test", columns=COLUMNS)
    return Samples(table, _sample, range(len(table)))


def _sample(row: dict, index: int) -> Sample:
    answer = str(row["answer"]).strip().lower()
    if answer not in ("yes", "no"):
        raise ValueError(f"row {index}, column 'answer': expected yes or no, got {row['answer']!r}")
    return Sample(
        id=f"{row['category']}-{row['question_id']}",
        image=row["image"].convert("RGB"),
        question=row["question"],
        prompt=f"{row['question']}\n{INSTRUCTION}",
        answer=answer,
        group=row["category"],
        image_source=row["image_source"],
    )


def parse(reply: str) -> str | None:
    """ "yes" or "no" if the reply holds exactly one of these words, else None."""
    words = set(re.findall(r"[a-z]+", reply.lower())) & {"yes", "no"}
    return words.pop() if len(words) == 1 else None


def score(table: pd.DataFrame) -> dict[str, float]:
    """Accuracy, precision, recall and F1 of "yes", yes-ratio of the predictions, unparsed.

    `table` has the columns answer and parsed; an unparsed reply counts as wrong.
    Precision, recall and F1 are nan where they would divide by zero.
    """
    says_yes, is_yes = table["parsed"] == "yes", table["answer"] == "yes"
    hits = float((says_yes & is_yes).sum())
    wrong = float((says_yes ^ is_yes).sum())
    return {
        "accuracy": float((table["parsed"] == table["answer"]).mean()),
        "precision": _ratio(hits, says_yes.sum()),
        "recall": _ratio(hits, is_yes.sum()),
        "f1": _ratio(2 * hits, 2 * hits + wrong),
        "yes_ratio": float(says_yes.mean()),
        "unparsed": float(table["parsed"].isna().mean()),
    }


def _ratio(part: float, whole: float) -> float:
    return part / float(whole) if whole else float("nan")
