"""The one rule by which measurements become the verdicts on a claim, one a kind of subject.

A model answers yes or no to a claim where a 95% interval leaves no doubt, and stays open (None)
where it does, or where there is none.  Answers are parted by what they are about: the paper's
models, a pretrained decoder, small models (`evidence.SUBJECTS`); other models decide nothing.  The
answers within a kind agree with the claim, disagree with it, are mixed or undecided (`together`);
what was measured says which words that allows (`decide`).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from lost_in_attention.models.shipped import PRETRAINED, SMALL
from lost_in_attention.publishing.evidence import PUBLISHED, SUBJECTS, Evidence

Answers = Mapping[str, bool | None]
Verdicts = dict[str, str]

# Over few images a percentile bootstrap is too narrow: of means of normal values its 95% intervals
# hold the truth 93 times in 100 for 20 values, 91 for 10 and 84 for 5.
MINIMUM_QUESTIONS = 20
# Of two models that know nothing of a claim, both agree with it one time in four.
MINIMUM_MODELS = 3

PROVED, DISPROVED = "proved", "contradicted by proof"
NEEDS_WEIGHTS, UNDECIDED = "needs published weights", "undecided"
# There is one pretrained decoder, and its words say so: it alone is enough.
LEAST = {PUBLISHED: 1, PRETRAINED: 1, SMALL: MINIMUM_MODELS}
ON = {
    PUBLISHED: "at tier paper",
    PRETRAINED: "on a pretrained decoder",
    SMALL: "on small models",
}
_DIRECTION = {"same": "same direction", "different": "different direction", "mixed": "mixed"}
_NUMBERS = {"same": "reproduced", "different": "not reproduced", "mixed": "mixed"}
_WORDS = {PUBLISHED: _NUMBERS, PRETRAINED: _DIRECTION, SMALL: _DIRECTION}
DECIDED = {
    subject: {said: f"{words} {ON[subject]}" for said, words in _WORDS[subject].items()}
    for subject in SUBJECTS
}
# What a chapter may say without an answer of any model.
UNMEASURED = (PROVED, DISPROVED, NEEDS_WEIGHTS, UNDECIDED)
_MEASURED = tuple(words for each in reversed(DECIDED.values()) for words in each.values())
VERDICTS = (PROVED, DISPROVED, *_MEASURED, NEEDS_WEIGHTS, UNDECIDED)


class Ground(NamedTuple):
    """What answers rest on: the claim they are about, how they were found, and whether the claim
    is a number of the paper's models (`number`), of which other models show nothing."""

    claim_id: str
    evidence: Evidence
    tier: str
    questions: int
    number: bool = False

    def published(self, answers: Answers) -> bool:
        """Whether the answers can decide what the paper says of its own models.

        For a number one answer speaks for all models; otherwise each of them has its own.
        """
        lacks = self.evidence.lacks(self.claim_id, questions=self.questions)
        answered = self.number or set(answers) == set(self.evidence.models)
        return self.tier == "paper" and answered and not lacks


class Finding(NamedTuple):
    """What one chapter found of a claim: every model's answer and what they rest on.

    Where it measured nothing, `answers` is None and `given` the verdict.  Where it asked and found
    nothing, `answers` is empty and every model that was loaded stays open.
    """

    ground: Ground
    answers: Answers | None = None
    given: str | None = None

    def about(self, subject: str) -> Answers:
        """The answers that can decide something of this kind of subject."""
        if self.answers is None:
            return {}
        answers = self.answers or dict.fromkeys(self.ground.evidence.models)
        if subject == PUBLISHED:
            return answers if self.ground.published(answers) else {}
        if self.ground.number:
            return {}
        return self.ground.evidence.by_subject(answers).get(subject, {})


def together(answers: Iterable[bool | None], *, least: int = 1) -> str | None:
    """What all models say: "same", "different", "mixed", or None (undecided).

    "same" if every model says yes, "different" if every one says no, "mixed" if one clearly says
    yes and another clearly no.  Undecided otherwise, and with fewer than `least` models.
    """
    answers = list(answers)
    if len(answers) < least:
        return None
    if True in answers and False in answers:
        return "mixed"
    if None in answers or not answers:
        return None
    return "same" if answers[0] else "different"


def decide(found: Sequence[Finding]) -> Verdicts:
    """The verdict on one claim for each kind of subject, from what every chapter found.

    A proof holds for all kinds and stands above measurements.  A kind of which nothing was asked
    has no verdict, only the paper's own models always have one: without complete evidence the
    claim needs the published weights.

    Raises ValueError if one chapter proves what another disproves, or there are none.
    """
    if not found:
        raise ValueError("found: expected at least one, got none")
    given = {each.given for each in found}
    if {PROVED, DISPROVED} <= given:
        raise ValueError(f"found: expected one verdict by proof, got {[PROVED, DISPROVED]}")
    for proof in (PROVED, DISPROVED):
        if proof in given:
            return dict.fromkeys(SUBJECTS, proof)
    open_ = dict.fromkeys(SUBJECTS, UNDECIDED)
    verdicts = open_ if UNDECIDED in given else {PUBLISHED: NEEDS_WEIGHTS}
    measured = {subject: _measured(found, subject) for subject in SUBJECTS}
    return verdicts | {subject: verdict for subject, verdict in measured.items() if verdict}


def in_words(verdicts: Verdicts) -> str:
    """All verdicts on a claim in one line, the strongest first.

    That it needs the published weights is said only where there is nothing else to say.
    """
    said = {subject: verdicts[subject] for subject in SUBJECTS if subject in verdicts}
    if len(said) > 1 and said[PUBLISHED] == NEEDS_WEIGHTS:
        del said[PUBLISHED]
    if len(set(said.values())) == 1:
        return next(iter(said.values()))
    return "; ".join(
        f"{verdict} {ON[subject]}" if verdict == UNDECIDED else verdict
        for subject, verdict in said.items()
    )


def _measured(found: Sequence[Finding], subject: str) -> str | None:
    """The verdict of one kind's answers, put together model by model; None if none was asked."""
    asked = [(each.about(subject), each.ground.questions) for each in found]
    asked = [(answers, questions) for answers, questions in asked if answers]
    if not asked:
        return None
    enough = [answers for answers, questions in asked if questions >= MINIMUM_QUESTIONS]
    said = together(_merged(enough).values(), least=LEAST[subject])
    return DECIDED[subject].get(said, UNDECIDED)


def _merged(found: Iterable[Answers]) -> dict[str, bool | None]:
    """Every model's answer: what all clear ones say, None where they differ or none is clear."""
    said: dict[str, set[bool]] = {}
    for answers in found:
        for model, answer in answers.items():
            said.setdefault(model, set()).update({answer} - {None})
    return {model: next(iter(each)) if len(each) == 1 else None for model, each in said.items()}
