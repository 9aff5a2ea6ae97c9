"""The seven question sets as rows, each in the column schema of its original.

Every set has scenes of its own, of drawings of one split.
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from lost_in_attention.pictures import hallusionbench, mathvista, mmmu, realworldqa, vmcbench
from lost_in_attention.pictures.coco import image_source
from lost_in_attention.pictures.drawings import Drawings, load_drawings
from lost_in_attention.pictures.layouts import counted_sketch, draw_sketch, make_scenes
from lost_in_attention.pictures.pope import existence_questions
from lost_in_attention.pictures.scenes import Scene, Sketch
from lost_in_attention.pictures.threedsrbench import KINDS
from lost_in_attention.pictures.variants import mirrored
from lost_in_attention.worlds import schemas
from lost_in_attention.worlds.existence import PER_SCENE
from lost_in_attention.worlds.relations import variants
from lost_in_attention.worlds.schemas import Row

_WORLD = "pictures"
_EASY = 4
Layout = Callable[[Drawings, np.random.Generator], Sketch]


def pope_rows(count: int, seed: int, split: str) -> list[Row]:
    """Six questions for each of three kinds of negatives on every scene."""
    scenes = list(make_scenes(count // PER_SCENE, split=split, seed=seed))
    images = {image_source(split, index): scene for index, scene in enumerate(scenes)}
    return schemas.pope_rows(existence_questions(scenes, split, seed=seed), images)


def realworldqa_rows(count: int, seed: int, split: str) -> list[Row]:
    """Where things are, and what is there."""
    return schemas.realworldqa_rows(_asked(count, [seed, 2], split, realworldqa.question))


def threedsrbench_rows(count: int, seed: int, split: str) -> list[Row]:
    """How two things lie to each other, four variants a question."""
    drawings, rng = load_drawings(split), np.random.default_rng([seed, 3])
    return schemas.threedsrbench_rows(
        _WORLD, count, lambda: variants(draw_sketch(drawings, rng), mirrored, KINDS, rng)
    )


def mmmu_rows(count: int, seed: int, split: str) -> list[Row]:
    """Kinds, uses and abilities by subject."""
    return schemas.mmmu_rows(_asked(count, [seed, 4], split, mmmu.question), easy=_EASY)


def vmcbench_rows(count: int, seed: int, split: str) -> list[Row]:
    """Questions with four options, twenty kinds in turn."""
    rng = np.random.default_rng([seed, 5])
    return schemas.vmcbench_rows(vmcbench.questions(count, load_drawings(split), rng))


def hallusionbench_rows(count: int, seed: int, split: str) -> list[Row]:
    """Three questions on each image and on its edited twin."""
    drawings, rng = load_drawings(split), np.random.default_rng([seed, 6])
    return schemas.hallusionbench_rows(
        count,
        lambda: hallusionbench.twin(draw_sketch(drawings, rng), drawings, rng),
        hallusionbench.holds,
    )


def mathvista_rows(count: int, seed: int, split: str) -> list[Row]:
    """Calculations with counts."""
    questions = _asked(count, [seed, 7], split, mathvista.question, counted_sketch)
    return schemas.mathvista_rows(_WORLD, questions)


def _asked(
    count: int,
    seed: list[int],
    split: str,
    ask: Callable[[Scene, np.random.Generator], Row | None],
    layout: Layout = draw_sketch,
) -> Iterator[tuple[Scene, Row]]:
    drawings = load_drawings(split)
    return schemas.asked(
        count, lambda rng: layout(drawings, rng).painted(), ask, np.random.default_rng(seed)
    )


SETS: Mapping[str, Callable[[int, int, str], list[Row]]] = {
    "pope": pope_rows,
    "realworldqa": realworldqa_rows,
    "3dsrbench": threedsrbench_rows,
    "mmmu": mmmu_rows,
    "vmcbench": vmcbench_rows,
    "hallusionbench": hallusionbench_rows,
    "mathvista": mathvista_rows,
}
