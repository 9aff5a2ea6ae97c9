"""Which questions are traced: those on objects that are there, until enough are right and wrong."""

from dataclasses import replace

import numpy as np
import pandas as pd

from lost_in_attention.benchmarks import Samples
from lost_in_attention.evaluation.questions import evaluate
from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.trace.annotations import Annotations, asked_object

BATCH = 50


def present_questions(samples: Samples, *, seed: int) -> Samples:
    """POPE's questions whose answer is yes, each of an image once, shuffled.

    POPE repeats them in each of its three categories, where only the absent objects differ.

    Raises ValueError if there are none.
    """
    asked = ("answer", "question", "image_source")
    rows = pd.DataFrame({column: samples.table[column][:] for column in asked})
    rows = rows.iloc[list(samples.chosen)]
    rows = rows[rows["answer"].str.lower() == "yes"]
    kept = rows.drop_duplicates(["question", "image_source"]).index.to_numpy()
    if not len(kept):
        raise ValueError("samples: expected questions with the answer yes, got none")
    return replace(samples, chosen=np.random.default_rng(seed).permutation(kept).tolist())


def check_annotated(samples: Samples, annotations: Annotations) -> None:
    """Raise ValueError for a question whose image or object the annotations do not know.

    To be called before the questions are asked, which takes long; no picture is decoded.
    """
    sources, questions = (samples.table[column][:] for column in ("image_source", "question"))
    for row in samples.chosen:
        annotations.boxes(sources[row], asked_object(questions[row]))


def answers_until(
    vlm: VisionLanguageModel, samples: Samples, *, wanted: int, at_most: int
) -> pd.DataFrame:
    """The rows of `evaluate` for the first samples, until `wanted` are right and as many wrong.

    Asks no more than `at_most` questions, and stops at the end of a batch of 50: there may be
    fewer or more of each kind.  Row i is sample i.

    Raises ValueError for `wanted` or `at_most` below 1.
    """
    for name, value in (("wanted", wanted), ("at_most", at_most)):
        if value < 1:
            raise ValueError(f"{name}: expected at least 1, got {value}")
    parts, right, wrong = [], 0, 0
    for start in range(0, min(at_most, len(samples)), BATCH):
        part = samples[start : min(start + BATCH, at_most)]
        parts.append(evaluate(vlm, part, benchmark="pope", batch_size=BATCH))
        right += parts[-1]["correct"].sum()
        wrong += (~parts[-1]["correct"]).sum()
        if min(right, wrong) >= wanted:
            break
    return pd.concat(parts, ignore_index=True)


def first_cases(answers: pd.DataFrame, wanted: int) -> pd.DataFrame:
    """The first `wanted` right and the first `wanted` wrong answers, in their order."""
    return answers.groupby("correct").head(wanted)
