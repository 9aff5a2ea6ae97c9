"""The seven question sets as rows, each in the column schema of its original.

A row's image columns hold scenes; `write` turns them into pictures.  Every set has scenes of
its own.  The schemas are those of the hubs' repositories that the loaders name.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from lost_in_attention.digits import hallusionbench, mathvista, mmmu, realworldqa, vmcbench
from lost_in_attention.digits.coco import image_source
from lost_in_attention.digits.glyphs import load_glyphs
from lost_in_attention.digits.pope import existence_questions
from lost_in_attention.digits.scenes import Scene, Sketch, draw_sketch, make_scenes
from lost_in_attention.digits.threedsrbench import variants
from lost_in_attention.digits.variants import make_row

Row = dict
PER_POPE_SCENE = 18
_PER_SCENE = 2
_ROW_SHARE = 0.25


def pope_rows(count: int, seed: int) -> list[Row]:
    """Six questions for each of three kinds of negatives on every scene."""
    scenes = list(make_scenes(count // PER_POPE_SCENE, split="heldout", seed=seed))
    images = {image_source(index): scene for index, scene in enumerate(scenes)}
    table = existence_questions(scenes, seed=seed)
    return [{**row, "image": images[row["image_source"]]} for row in table.to_dict("records")]


def realworldqa_rows(count: int, seed: int) -> list[Row]:
    return [
        {"image": scene, **row} for scene, row in _asked(count, [seed, 2], realworldqa.question)
    ]


def threedsrbench_rows(count: int, seed: int) -> list[Row]:
    """Four variants a question, named as published: `qid` ends in "-flip", "-1" or both."""
    rng = np.random.default_rng([seed, 3])
    rows = []
    while len(rows) < count:
        base = len(rows) // 4
        for scene, question in variants(_sketch(rng), rng):
            flip, turn = question.pop("flip"), question.pop("turn")
            qid = f"digits{base:05d}{flip}{turn}"
            rows.append(
                {
                    "index": qid,
                    "qid": qid,
                    **question,
                    "C": None,
                    "D": None,
                    "image_source": f"digits_{base:06d}{flip}",
                    "image_url": "",
                    "image": scene,
                }
            )
    return rows


def mmmu_rows(count: int, seed: int) -> list[Row]:
    rows = []
    for scene, row in _asked(count, [seed, 4], mmmu.question):
        subject = row.pop("subject")
        rows.append(
            {
                "id": f"validation_{subject}_{len(rows) + 1}",
                **row,
                "explanation": "",
                **dict.fromkeys(mmmu.IMAGES),
                "image_1": scene,
                "img_type": "['Pictures']",
                "topic_difficulty": "Easy" if len(scene.digits) < 5 else "Hard",
            }
        )
    return rows


def vmcbench_rows(count: int, seed: int) -> list[Row]:
    asked = _asked(count, [seed, 5], vmcbench.question, row_share=_ROW_SHARE)
    return [{"index": index, **row, "image": scene} for index, (scene, row) in enumerate(asked)]


def hallusionbench_rows(count: int, seed: int) -> list[Row]:
    """Three questions on each image and on its edited twin."""
    rng = np.random.default_rng([seed, 6])
    rows: list[Row] = []
    pairs = 0
    while len(rows) < count:
        sketch = _sketch(rng)
        found = hallusionbench.twin(sketch, rng)
        if found is None:
            continue
        kind, edited, questions = found
        for figure, each in ((1, sketch), (2, edited)):
            scene = each.painted()
            for number, text in enumerate(questions):
                holds = hallusionbench.holds(text, scene)
                rows.append(_pair_row(kind, pairs, figure, number, text, holds, scene))
        pairs += 1
    return rows


def mathvista_rows(count: int, seed: int) -> list[Row]:
    rows = []
    for scene, row in _asked(count, [seed, 7], mathvista.question):
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
                "metadata": {"category": "digits", "source": "digits", "task": task},
                "query": row["question"],
            }
        )
    return rows


def _pair_row(
    kind: str, pair: int, figure: int, number: int, text: str, holds: bool, scene: Scene
) -> Row:
    return {
        "category": "VS",
        "subcategory": kind,
        "visual_input": str(figure),
        "set_id": str(pair),
        "figure_id": str(figure),
        "sample_note": "edited" if figure == 2 else "original",
        "question_id": str(number),
        "question": text,
        "gt_answer_details": "Yes." if holds else "No.",
        "gt_answer": str(int(holds)),
        "filename": f"{kind}_{pair}_{figure}.png",
        "image": scene,
    }


def _asked(
    count: int,
    seed: list[int],
    ask: Callable[[Scene, np.random.Generator], Row | None],
    *,
    row_share: float = 0.0,
) -> Iterator[tuple[Scene, Row]]:
    """Up to two different questions on each scene, `count` in all."""
    rng = np.random.default_rng(seed)
    glyphs = load_glyphs("heldout")
    left = count
    while left > 0:
        is_row = rng.random() < row_share
        scene = make_row(glyphs, rng) if is_row else _sketch(rng).painted()
        # Two wordings of one fact are one question: what is asked, less the order of options.
        texts = set()
        for _ in range(_PER_SCENE):
            row = ask(scene, rng)
            if row is None or row["question"].split("\n")[0] in texts or left == 0:
                continue
            texts.add(row["question"].split("\n")[0])
            left -= 1
            yield scene, row


def _sketch(rng: np.random.Generator) -> Sketch:
    return draw_sketch(load_glyphs("heldout"), rng)


@dataclass(frozen=True)
class QuestionSet:
    """The split that a set is published as, and `rows(count, seed)`, which makes it."""

    split: str
    rows: Callable[[int, int], list[Row]]


SETS: Mapping[str, QuestionSet] = {
    "pope": QuestionSet("test", pope_rows),
    "realworldqa": QuestionSet("test", realworldqa_rows),
    "3dsrbench": QuestionSet("test", threedsrbench_rows),
    "mmmu": QuestionSet("validation", mmmu_rows),
    "vmcbench": QuestionSet("test", vmcbench_rows),
    "hallusionbench": QuestionSet("image", hallusionbench_rows),
    "mathvista": QuestionSet("testmini", mathvista_rows),
}
