"""The benchmarks' questions on a training scene, as a turn of a conversation.

Prompts come from the benchmarks themselves, so that a model meets in training what it is
asked later.  A question can be put plainly: without options or instruction, answered by the
option's words.  Otherwise it is put in the official wording half of the time, and with bare options
or plainly for the rest; options are then answered by their letters, or by their words.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np

from lost_in_attention.benchmarks import BENCHMARKS
from lost_in_attention.benchmarks.choices import LETTERS
from lost_in_attention.digits import (
    Scene,
    existence_question,
    hallusionbench,
    mathvista,
    mmmu,
    realworldqa,
    threedsrbench,
    vmcbench,
)
from lost_in_attention.digits.facts import absent_digit
from lost_in_attention.worlds import places, subjects

Style = Literal["plain", "letters", "words"]
_OFFICIAL_SHARE = 0.5
_PLAIN_SHARE = 0.25


class Turn(NamedTuple):
    """A question and its answer; `given` are spans of the answer that are not to be learned."""

    question: str
    answer: str
    given: tuple[tuple[int, int], ...] = ()


@runtime_checkable
class Task(Protocol):
    """Puts a benchmark's question on a scene; None where the scene allows none."""

    def __call__(self, scene: Scene, rng: np.random.Generator, style: Style) -> Turn | None: ...


def pope(scene: Scene, rng: np.random.Generator, style: Style) -> Turn:
    """Whether a digit is there; yes and no are equally likely."""
    present = rng.random() < 0.5
    values = [d.digit for d in scene.digits]
    value = int(rng.choice(values)) if present else absent_digit(scene, rng)
    text = existence_question(value)
    if style != "plain" and rng.random() < _OFFICIAL_SHARE:
        text = BENCHMARKS["pope"].prompt({"question": text})
    return Turn(text, "yes" if present else "no")


def real_world(scene: Scene, rng: np.random.Generator, style: Style) -> Turn | None:
    """RealWorldQA's kinds; None where the scene allows none."""
    row = realworldqa.question(scene, rng)
    if row is None:
        return None
    words = places.options(row).get(row["answer"], row["answer"])
    if style == "plain":
        return Turn(row["question"].split("\n")[0], words)
    return Turn(BENCHMARKS["realworldqa"].prompt(row), _reply(row["answer"], words, style))


def three_d(scene: Scene, rng: np.random.Generator, style: Style) -> Turn | None:
    """How two digits lie to each other; None where that is not clear."""
    row = threedsrbench.question(scene, rng)
    return row and _choice("3dsrbench", row | {"C": None, "D": None}, row, rng, style)


def vmc(scene: Scene, rng: np.random.Generator, style: Style) -> Turn | None:
    """VMCBench's kinds; None where the scene allows none."""
    row = vmcbench.question(scene, rng)
    return row and _choice("vmcbench", row, row, rng, style)


def multi_discipline(scene: Scene, rng: np.random.Generator, style: Style) -> Turn | None:
    """MMMU's kinds, without the image's marker."""
    row = mmmu.question(scene, rng)
    if row is None:
        return None
    options = dict(zip(LETTERS, subjects.options(row), strict=False))
    turn = _choice("mmmu", row, row | options, rng, style)
    return turn._replace(question=turn.question.removeprefix(subjects.MARKER))


def hallusion(scene: Scene, rng: np.random.Generator, style: Style) -> Turn:
    """HallusionBench's kinds, which have no options."""
    return Turn(*hallusionbench.question(scene, rng))


def math(scene: Scene, rng: np.random.Generator, style: Style) -> Turn | None:
    """A calculation; None where the scene allows none."""
    row = mathvista.question(scene, rng)
    if row is None:
        return None
    choices = row["choices"] or []
    options = dict(zip(LETTERS, choices, strict=False))
    letter = LETTERS[choices.index(row["answer"])] if choices else row["answer"]
    row |= {"unit": None, "precision": None}
    return _choice("mathvista", row, row | options | {"answer": letter}, rng, style)


TASKS: dict[str, Task] = {
    "pope": pope,
    "realworldqa": real_world,
    "3dsrbench": three_d,
    "mmmu": multi_discipline,
    "vmcbench": vmc,
    "hallusionbench": hallusion,
    "mathvista": math,
}


def _choice(
    benchmark: str,
    row: Mapping,
    lettered: Mapping[str, str],
    rng: np.random.Generator,
    style: Style,
) -> Turn:
    """The question as the benchmark puts it, with bare options, or plain.

    `lettered` holds the options and the answer's letter.
    """
    letter = lettered["answer"]
    words = lettered.get(letter, letter)
    draw = 1.0 if style == "plain" else rng.random()
    if draw < _OFFICIAL_SHARE:
        return Turn(BENCHMARKS[benchmark].prompt(row), _reply(letter, words, style))
    options = [f"{name}. {lettered[name]}" for name in LETTERS if lettered.get(name)]
    if draw < 1 - _PLAIN_SHARE and options:
        return Turn("\n".join([row["question"], *options]), _reply(letter, words, style))
    return Turn(row["question"], words)


def _reply(letter: str, words: str, style: Style) -> str:
    return letter if style == "letters" else words
