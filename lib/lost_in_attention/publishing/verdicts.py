"""The one rule by which measurements become a verdict on a claim.

A model answers yes or no to a claim where a 95% interval leaves no doubt, and stays open (None)
where it does, or where there is none.  The answers of all models together agree with the claim,
disagree with it, are mixed or undecided (`together`); what was measured says which words that
allows (`decide`).  Several chapters may measure one claim: their answers are put together model
by model, and the rule is applied once (`pooled`).
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from lost_in_attention.publishing.evidence import Evidence

Answers = Mapping[str, bool | None]

# Over few images a percentile bootstrap is too narrow: of means of normal values its 95% intervals
# hold the truth 93 times in 100 for 20 values, 91 for 10 and 84 for 5.
MINIMUM_QUESTIONS = 20
# Of two models that know nothing of a claim, both agree with it one time in four.
MINIMUM_MODELS = 3

PROVED, DISPROVED = "proved", "contradicted by proof"
NEEDS_WEIGHTS, UNDECIDED = "needs published weights", "undecided"
ON_SMALL = {
    "same": "same direction on small models",
    "different": "different direction on small models",
    "mixed": "mixed on small models",
}
ON_PUBLISHED = {
    "same": "reproduced at tier paper",
    "different": "not reproduced at tier paper",
    "mixed": "mixed at tier paper",
}
VERDICTS = (
    PROVED,
    DISPROVED,
    *ON_SMALL.values(),
    NEEDS_WEIGHTS,
    *ON_PUBLISHED.values(),
    UNDECIDED,
)
# What a chapter may say without an answer of any model.
UNMEASURED = (PROVED, DISPROVED, NEEDS_WEIGHTS, UNDECIDED)


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

    def small(self, answers: Answers) -> bool:
        """Whether the answers are all those of the repository's own models."""
        return not self.number and self.evidence.all_small(list(answers))


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


def decide(answers: Answers, ground: Ground) -> str:
    """The verdict on a claim from every model's answer.

    On the paper's numbers only where `ground` is published, otherwise on small models where all
    are small and no number is meant; else the answers decide nothing and the claim still needs
    the published weights.  Undecided where the rule says so or too few questions were asked.
    """
    if ground.number and ground.tier != "paper":
        return NEEDS_WEIGHTS
    enough = ground.questions >= MINIMUM_QUESTIONS
    said = together(answers.values()) if enough else None
    if said is None:
        return UNDECIDED
    if ground.published(answers):
        return ON_PUBLISHED[said]
    if not ground.small(answers):
        return NEEDS_WEIGHTS
    return ON_SMALL.get(together(answers.values(), least=MINIMUM_MODELS), UNDECIDED)


def pooled(found: Iterable[tuple[str, Answers | None, Ground]]) -> str:
    """The one verdict on a claim from the verdict, answers and ground of every chapter.

    A proof stands above measurements, published weights stand above small models.  Within these a
    model's answer is the one that all chapters with a clear one agree on.

    Raises ValueError if one chapter proves what another disproves, or there are none.
    """
    found = list(found)
    if not found:
        raise ValueError("found: expected at least one, got none")
    given = {verdict for verdict, _, _ in found}
    if {PROVED, DISPROVED} <= given:
        raise ValueError(f"found: expected one verdict by proof, got {sorted(given)}")
    for proof in (PROVED, DISPROVED):
        if proof in given:
            return proof
    measured = [each for each in found if each[1] is not None]
    published = [answers for _, answers, ground in measured if ground.published(answers)]
    if published:
        return ON_PUBLISHED.get(together(_merged(published).values()), UNDECIDED)
    small = [
        answers
        for _, answers, ground in measured
        if ground.small(answers) and ground.questions >= MINIMUM_QUESTIONS
    ]
    said = together(_merged(small).values(), least=MINIMUM_MODELS)
    if said is not None:
        return ON_SMALL[said]
    return UNDECIDED if small or UNDECIDED in given else NEEDS_WEIGHTS


def _merged(found: Iterable[Answers]) -> dict[str, bool | None]:
    """Every model's answer: what all clear ones say, None where they differ or none is clear."""
    said: dict[str, set[bool]] = {}
    for answers in found:
        for model, answer in answers.items():
            said.setdefault(model, set()).update({answer} - {None})
    return {model: next(iter(each)) if len(each) == 1 else None for model, each in said.items()}
