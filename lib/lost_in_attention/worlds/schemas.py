"""Questions as rows in the column schemas of their originals.

A row's image columns hold scenes; writing turns them into pictures.  The schemas are those of the
hubs' repositories that the loaders name.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from lost_in_attention.benchmarks.mmmu import IMAGES
from lost_in_attention.worlds.relations import Question
from lost_in_attention.worlds.scenery import Painted

Row = dict
Asked = Iterable[tuple[Painted, Row]]
_PER_SCENE = 2


def asked(
    count: int,
    draw: Callable[[np.random.Generator], Painted],
    ask: Callable[[Painted, np.random.Generator], Row | None],
    rng: np.random.Generator,
) -> Iterator[tuple[Painted, Row]]:
    """Up to two different questions on each scene, `count` in all."""
    left = count
    while left > 0:
        scene = draw(rng)
        # Two wordings of one fact are one question: what is asked, less the order of options.
        texts = set()
        for _ in range(_PER_SCENE):
            row = ask(scene, rng)
            if row is None or row["question"].split("\n")[0] in texts or left == 0:
                continue
            texts.add(row["question"].split("\n")[0])
            left -= 1
            yield scene, row


def pope_rows(table: pd.DataFrame, images: dict[str, Painted]) -> list[Row]:
    """The questions of `existence_table` with the scenes that they name."""
    return [{**row, "image": images[row["image_source"]]} for row in table.to_dict("records")]


def realworldqa_rows(questions: Asked) -> list[Row]:
    """Scene, question and answer alone."""
    return [{"image": scene, **row} for scene, row in questions]


def threedsrbench_rows(
    world: str, count: int, draw: Callable[[], list[tuple[Painted, Question]]]
) -> list[Row]:
    """Four variants a question, named as published: `qid` ends in "-flip", "-1" or both."""
    rows: list[Row] = []
    while len(rows) < count:
        base = len(rows) // 4
        for scene, question in draw():
            flip, turn = question.pop("flip"), question.pop("turn")
            qid = f"{world}{base:05d}{flip}{turn}"
            rows.append(
                {
                    "index": qid,
                    "qid": qid,
                    **question,
                    "C": None,
                    "D": None,
                    "image_source": f"{world}_{base:06d}{flip}",
                    "image_url": "",
                    "image": scene,
                }
            )
    return rows


def mmmu_rows(questions: Asked, *, easy: int) -> list[Row]:
    """A scene of at most `easy` things is held for easy."""
    rows: list[Row] = []
    for scene, row in questions:
        subject = row.pop("subject")
        rows.append(
            {
                "id": f"validation_{subject}_{len(rows) + 1}",
                **row,
                "explanation": "",
                **dict.fromkeys(IMAGES),
                "image_1": scene,
                "img_type": "['Pictures']",
                "topic_difficulty": "Easy" if len(scene.things) <= easy else "Hard",
            }
        )
    return rows


def vmcbench_rows(questions: Asked) -> list[Row]:
    """Questions on four options, numbered."""
    return [{"index": index, **row, "image": scene} for index, (scene, row) in enumerate(questions)]


class Twin(NamedTuple):
    """A scene and its edited twin, what was edited, and the questions on both."""

    kind: str
    scenes: tuple[Painted, Painted]
    questions: list[str]


def hallusionbench_rows(
    count: int, draw: Callable[[], Twin | None], holds: Callable[[str, Painted], bool]
) -> list[Row]:
    """Every question on each image and on its twin; `holds` tells whether the answer is yes."""
    rows: list[Row] = []
    pairs = 0
    while len(rows) < count:
        twin = draw()
        if twin is None:
            continue
        for figure, scene in enumerate(twin.scenes, 1):
            for number, text in enumerate(twin.questions):
                rows.append(_pair_row(twin.kind, pairs, figure, number, text, holds, scene))
        pairs += 1
    return rows


def _pair_row(
    kind: str,
    pair: int,
    figure: int,
    number: int,
    text: str,
    holds: Callable[[str, Painted], bool],
    scene: Painted,
) -> Row:
    right = holds(text, scene)
    return {
        "category": "VS",
        "subcategory": kind,
        "visual_input": str(figure),
        "set_id": str(pair),
        "figure_id": str(figure),
        "sample_note": "edited" if figure == 2 else "original",
        "question_id": str(number),
        "question": text,
        "gt_answer_details": "Yes." if right else "No.",
        "gt_answer": str(int(right)),
        "filename": f"{kind}_{pair}_{figure}.png",
        "image": scene,
    }


def mathvista_rows(world: str, questions: Asked) -> list[Row]:
    """Calculations on scenes of `world`, numbered from 1."""
    rows: list[Row] = []
    for scene, row in questions:
        task = row.pop("task")
        pid = str(len(rows) + 1)
        rows.append(
            {
                "pid": pid,
                **row,
                "image": f"images/{pid}.png",
                "decoded_image": scene,
                "unit": "",
                "precision": None,
                "metadata": {"category": world, "source": world, "task": task},
                "query": row["question"],
            }
        )
    return rows
