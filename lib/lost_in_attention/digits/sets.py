"""The seven question sets as rows, each in the column schema of its original.

Every set has scenes of its own.
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from lost_in_attention.digits import hallusionbench, mathvista, mmmu, realworldqa, vmcbench
from lost_in_attention.digits.coco import image_source
from lost_in_attention.digits.glyphs import load_glyphs
from lost_in_attention.digits.pope import existence_questions
from lost_in_attention.digits.scenes import Scene, Sketch, draw_sketch, make_scenes
from lost_in_attention.digits.threedsrbench import KINDS
from lost_in_attention.digits.variants import make_row, mirrored
from lost_in_attention.worlds import schemas
from lost_in_attention.worlds.existence import PER_SCENE
from lost_in_attention.worlds.relations import variants
from lost_in_attention.worlds.schemas import Row, Twin

_WORLD = "digits"
_ROW_SHARE = 0.25
_EASY = 4


def pope_rows(count: int, seed: int) -> list[Row]:
    """Six questions for each of three kinds of negatives on every scene."""
    scenes = list(make_scenes(count // PER_SCENE, split="heldout", seed=seed))
    images = {image_source(index): scene for index, scene in enumerate(scenes)}
    return schemas.pope_rows(existence_questions(scenes, seed=seed), images)


def realworldqa_rows(count: int, seed: int) -> list[Row]:
    """Where single digits are."""
    return schemas.realworldqa_rows(_asked(count, [seed, 2], realworldqa.question))


def threedsrbench_rows(count: int, seed: int) -> list[Row]:
    """How two digits lie to each other, four variants a question."""
    rng = np.random.default_rng([seed, 3])
    return schemas.threedsrbench_rows(
        _WORLD, count, lambda: variants(_sketch(rng), mirrored, KINDS, rng)
    )


def mmmu_rows(count: int, seed: int) -> list[Row]:
    """Questions of four subjects."""
    return schemas.mmmu_rows(_asked(count, [seed, 4], mmmu.question), easy=_EASY)


def vmcbench_rows(count: int, seed: int) -> list[Row]:
    """Questions with four options; a quarter of the scenes are digits in a row."""
    questions = _asked(count, [seed, 5], vmcbench.question, row_share=_ROW_SHARE)
    return schemas.vmcbench_rows(questions)


def hallusionbench_rows(count: int, seed: int) -> list[Row]:
    """Three questions on each image and on its edited twin."""
    rng = np.random.default_rng([seed, 6])
    return schemas.hallusionbench_rows(count, lambda: _twin(rng), hallusionbench.holds)


def mathvista_rows(count: int, seed: int) -> list[Row]:
    """Calculations with digits."""
    return schemas.mathvista_rows(_WORLD, _asked(count, [seed, 7], mathvista.question))


def _twin(rng: np.random.Generator) -> Twin | None:
    sketch = _sketch(rng)
    found = hallusionbench.twin(sketch, rng)
    if found is None:
        return None
    kind, edited, questions = found
    return Twin(kind, (sketch.painted(), edited.painted()), questions)


def _asked(
    count: int,
    seed: list[int],
    ask: Callable[[Scene, np.random.Generator], Row | None],
    *,
    row_share: float = 0.0,
) -> Iterator[tuple[Scene, Row]]:
    """Questions on scenes of their own; a `row_share` of these are digits in a row."""
    glyphs = load_glyphs("heldout")

    def draw(rng: np.random.Generator) -> Scene:
        is_row = rng.random() < row_share
        return make_row(glyphs, rng) if is_row else _sketch(rng).painted()

    return schemas.asked(count, draw, ask, np.random.default_rng(seed))


def _sketch(rng: np.random.Generator) -> Sketch:
    return draw_sketch(load_glyphs("heldout"), rng)


SETS: Mapping[str, Callable[[int, int], list[Row]]] = {
    "pope": pope_rows,
    "realworldqa": realworldqa_rows,
    "3dsrbench": threedsrbench_rows,
    "mmmu": mmmu_rows,
    "vmcbench": vmcbench_rows,
    "hallusionbench": hallusionbench_rows,
    "mathvista": mathvista_rows,
}
