"""The benchmarks' questions on a scene of pictures, as turns of a conversation.

Questions are put as the benchmarks put them.  Options are answered by their words instead of their
letters; the judges accept both.
"""

from collections.abc import Mapping

import numpy as np

from lost_in_attention.benchmarks import BENCHMARKS
from lost_in_attention.benchmarks.choices import LETTERS
from lost_in_attention.pictures import mathvista, mmmu, realworldqa, vmcbench
from lost_in_attention.pictures.facts import absent_nouns, nouns_of, unique_pictures
from lost_in_attention.pictures.hallusionbench import are_there
from lost_in_attention.pictures.pope import existence_question
from lost_in_attention.pictures.scenes import IMAGE_SIZE, Scene
from lost_in_attention.pictures.threedsrbench import KINDS
from lost_in_attention.training.tasks import Turn
from lost_in_attention.worlds import places, subjects
from lost_in_attention.worlds.facts import choose, quadrant


def existence(scene: Scene, rng: np.random.Generator) -> Turn:
    """Whether a noun is there, asked in as few words as possible; yes is as likely as no."""
    present = rng.random() < 0.5
    [noun] = choose(nouns_of(scene) if present else absent_nouns(scene), 1, rng)
    return Turn(existence_question(noun), "Yes" if present else "No")


def pope(scene: Scene, rng: np.random.Generator) -> Turn:
    """`existence` as the benchmark asks it."""
    turn = existence(scene, rng)
    return turn._replace(question=BENCHMARKS["pope"].prompt({"question": turn.question}))


def real_world(scene: Scene, rng: np.random.Generator) -> Turn | None:
    """RealWorldQA's kinds; None where the scene allows none."""
    row = realworldqa.question(scene, rng)
    return row and _turn("realworldqa", row, places.options(row))


def three_d(scene: Scene, rng: np.random.Generator) -> Turn | None:
    """How two things lie to each other; None where that is not clear."""
    row = _relation(scene, rng)
    return row and _turn("3dsrbench", row, row)


def quarter(scene: Scene, rng: np.random.Generator) -> Turn | None:
    """In which quarter a thing lies, without options; None where none lies clearly in one."""
    clear = [each for each in unique_pictures(scene) if quadrant(each, IMAGE_SIZE)]
    if not clear:
        return None
    [thing] = choose(clear, 1, rng)
    return Turn(f"Where in the image is the {thing.noun}?", quadrant(thing, IMAGE_SIZE))


def relation(scene: Scene, rng: np.random.Generator) -> Turn | None:
    """3DSRBench's question, without options."""
    row = _relation(scene, rng)
    return row and Turn(row["question"], row[row["answer"]])


def multi_discipline(scene: Scene, rng: np.random.Generator) -> Turn | None:
    """MMMU's kinds, without the image's marker."""
    row = mmmu.question(scene, rng)
    if row is None:
        return None
    turn = _turn("mmmu", row, dict(zip(LETTERS, subjects.options(row), strict=False)))
    return turn._replace(question=turn.question.removeprefix(subjects.MARKER))


def vmc(scene: Scene, rng: np.random.Generator) -> Turn | None:
    """VMCBench's kinds that suit the scene's layout."""
    row = vmcbench.question(scene, rng)
    return row and _turn("vmcbench", row, row)


def hallusion(scene: Scene, rng: np.random.Generator) -> Turn:
    """Whether there are so many things, right or wrong by one."""
    holds = rng.random() < 0.5
    number = len(scene.pictures) + (0 if holds else int(rng.choice([-1, 1])))
    return Turn(are_there(number), "Yes" if holds else "No")


def math(scene: Scene, rng: np.random.Generator) -> Turn | None:
    """A calculation on counted things or a chart; None on other scenes."""
    if scene.layout not in ("counted", "chart"):
        return None
    row = mathvista.question(scene, rng)
    return row and _turn("mathvista", row | {"unit": None, "precision": None}, {})


TASKS = (pope, real_world, three_d, multi_discipline, vmc, hallusion, math)


def looking(scene: Scene, count: int, rng: np.random.Generator) -> list[Turn]:
    """`count` times whether something is there; of few things that are, some are asked again."""
    return [existence(scene, rng) for _ in range(count)]


def placing(scene: Scene, count: int, rng: np.random.Generator) -> list[Turn]:
    """`count` times where something lies, or which of two things lies where or is larger.

    Where a scene does not tell, whether something is there.
    """
    turns = []
    for _ in range(count):
        ask = (quarter, relation)[rng.integers(2)]
        turns.append(ask(scene, rng) or existence(scene, rng))
    return turns


def conversation(scene: Scene, count: int, rng: np.random.Generator) -> list[Turn]:
    """`count` different questions on the scene, from the seven benchmarks in turn."""
    turns: dict[str, Turn] = {}
    while len(turns) < count:
        for ask in choose(TASKS, len(TASKS), rng):
            turn = ask(scene, rng)
            if turn and len(turns) < count:
                turns.setdefault(turn.question, turn)
    return list(turns.values())


def _relation(scene: Scene, rng: np.random.Generator) -> Mapping | None:
    if len(unique_pictures(scene)) < 2:
        return None
    one, other = choose(unique_pictures(scene), 2, rng)
    return KINDS[rng.integers(len(KINDS))](one, other, bool(rng.integers(2)))


def _turn(benchmark: str, row: Mapping, options: Mapping[str, str]) -> Turn:
    answer = row["answer"]
    return Turn(BENCHMARKS[benchmark].prompt(row), options.get(answer, answer))
