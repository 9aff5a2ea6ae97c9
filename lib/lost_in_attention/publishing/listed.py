"""One finding of the scorecard: what the paper says, and the verdict from all chapters together.

for finding in listed(read_claims(results)):
    finding.verdict("small"), finding.measured
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch

from lost_in_attention.publishing.claims import Claim, words
from lost_in_attention.publishing.evidence import PUBLISHED, decidable
from lost_in_attention.publishing.scorecard_rows import findings, said
from lost_in_attention.publishing.verdicts import NEEDS_WEIGHTS, ON, Verdicts, decide, in_words

NOT_ASKED = "not asked"
# Measured, but of the paper's own models: a number of others neither meets nor misses theirs.
CANNOT_DECIDE = "cannot decide"


@dataclass(frozen=True)
class Listed:
    """A row of findings.csv, or one cell of the paper's tables, with what chapters found of it.

    `ids` are its claims in the paper, `main` is a few words where it is a main one, `figure` the
    chapter/name to look at.
    """

    ids: tuple[str, ...]
    says: str
    main: str
    figure: str
    claims: tuple[Claim, ...]

    @property
    def verdicts(self) -> Verdicts:
        """The verdicts by the rule over all that was found; none if no chapter looked at it.

        A finding that only complete evidence can decide then needs the published weights.
        """
        if self.claims:
            return decide([claim.finding for claim in self.claims])
        return {PUBLISHED: NEEDS_WEIGHTS} if any(map(decidable, self.ids)) else {}

    @property
    def standing(self) -> str:
        """All verdicts in one line."""
        return in_words(self.verdicts) if self.verdicts else NOT_ASKED

    @property
    def measured(self) -> str:
        """What the chapter of its figure measured, or all where that chapter did not."""
        own = [claim for claim in self.claims if claim.notebook == self.figure.split("/")[0]]
        told = own or self.claims
        if not told:
            return ""
        measured, agreement = (
            "; ".join(dict.fromkeys(words(getattr(claim, name)) for claim in told))
            for name in ("measured", "tolerance")
        )
        return f"{measured} (agreement means: {agreement})"

    def verdict(self, subject: str) -> str:
        """The verdict for one kind of subject, without what the heading of its column says."""
        if subject in self.verdicts:
            return short(self.verdicts[subject])
        of_paper = any(claim.number and claim.answers for claim in self.claims)
        return CANNOT_DECIDE if of_paper and subject != PUBLISHED else NOT_ASKED


def listed(claims: Sequence[Claim]) -> Iterator[Listed]:
    """All findings in order; the last are cells of the paper's tables, one for each measured."""
    for row in findings().itertuples():
        ids = row.claims.split()
        if row.says:
            own = tuple(claim for claim in claims if claim.id in ids)
            yield Listed(tuple(ids), said(row.says), row.main, row.figure, own)
            continue
        for cell in sorted({claim.id for claim in claims if fnmatch(claim.id, row.claims)}):
            own = tuple(claim for claim in claims if claim.id == cell)
            says = f"{own[0].statement}: {words(own[0].paper)}"
            yield Listed((cell,), says, "", row.figure, own)


def short(verdict: str) -> str:
    """A verdict without the kind of subject that it is about."""
    for subject in ON.values():
        verdict = verdict.removesuffix(f" {subject}")
    return verdict
