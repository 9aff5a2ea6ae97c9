"""A claim of the paper and what a notebook found about it.

A claim has an id: C001 to C080 for the numbers and statements in the paper's running text
(data/paper/text_claims.csv), or a table cell such as T1.attention.rid (table, row, column).
The verdict on what was measured is what the rule (`verdicts.decide`) makes of the models' answers
and of the evidence in the claim's provenance, in words; a claim with any other cannot be made.
"""

import json
import math
import re
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import pandas as pd

from lost_in_attention.publishing.evidence import Evidence
from lost_in_attention.publishing.verdicts import (
    UNMEASURED,
    Finding,
    Ground,
    Verdicts,
    decide,
    in_words,
)
from lost_in_attention.runs.files import replaced_when_complete
from lost_in_attention.runs.paths import data_folder
from lost_in_attention.runs.provenance import TIERS

_TABLE_CELL = re.compile(r"T\d(\.[\w-]+)+")


@dataclass(frozen=True)
class Claim:
    """One claim of the paper, what was measured, and the verdict with its tolerance.

    `answers` holds what each model says, yes, no or open; None where nothing was measured.
    `verdict` names the verdicts on all kinds of subjects in one line, `verdicts` parts them.
    `questions` is the number of questions behind every answer.  `number` says that the claim is
    one of the paper's numbers rather than a direction.

    Raises:
        ValueError: an unknown id or verdict, an empty text, a number that is not finite, or a
            verdict that does not follow from the answers and the evidence in `provenance`.
    """

    id: str
    statement: str
    paper: str | float
    measured: str | float
    verdict: str
    tolerance: str | float
    note: str = ""
    provenance: dict[str, Any] = field(default_factory=dict)
    answers: dict[str, bool | None] | None = None
    questions: int = 0
    number: bool = False

    def __post_init__(self) -> None:
        check_id(self.id)
        for name in ("statement", "paper", "measured", "tolerance"):
            _check_filled(self.id, name, getattr(self, name))
        for name in ("notebook", "tier"):
            if name not in self.provenance:
                found = list(self.provenance)
                raise ValueError(f"provenance of {self.id}: expected a {name}, got {found}")
        if self.tier not in TIERS:
            raise ValueError(f"tier of {self.id}: expected one of {TIERS}, got {self.tier!r}")
        _check_verdict(self)

    @property
    def notebook(self) -> str:
        """The notebook that makes the claim."""
        return self.provenance["notebook"]

    @property
    def tier(self) -> str:
        """The tier at which the notebook was run."""
        return self.provenance["tier"]

    @property
    def finding(self) -> Finding:
        """What the rule takes: the answers and what they rest on, or the verdict given."""
        evidence = Evidence.from_json(self.provenance.get("evidence", {}))
        ground = Ground(self.id, evidence, self.tier, self.questions, self.number)
        return Finding(ground, self.answers, self.verdict if self.answers is None else None)

    @property
    def verdicts(self) -> Verdicts:
        """The verdict for each kind of subject that has one."""
        return decide([self.finding])

    def write(self, results: Path) -> Path:
        """Write <results>/claims/<notebook>.<id>.json and return its path."""
        path = results / "claims" / f"{self.notebook}.{self.id}.json"
        with replaced_when_complete(path) as part:
            part.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n")
        return path


def read_claims(results: Path) -> list[Claim]:
    """All claims under <results>/claims, in the order of their file names.

    Raises:
        ValueError: a file is not JSON, lacks a key, has a strange one, or breaks a rule of
            `Claim`; the message names the file.
    """
    return [_read(path) for path in sorted((results / "claims").glob("*.json"))]


def text_claims() -> pd.DataFrame:
    """The claims of the paper's running text: id, section, quantity, value, unit, note."""
    return pd.read_csv(
        data_folder() / "paper" / "text_claims.csv", dtype=str, keep_default_na=False
    )


def check_id(claim_id: str) -> None:
    """Raise ValueError unless the id names a text claim or has the form of a table cell."""
    if claim_id.startswith("C"):
        known = text_claims()["id"]
        if claim_id not in set(known):
            span = f"{known.iloc[0]} to {known.iloc[-1]}"
            raise ValueError(f"claim_id: expected one of text_claims.csv, {span}, got {claim_id!r}")
    elif not _TABLE_CELL.fullmatch(claim_id):
        raise ValueError(
            "claim_id: expected one like C072 or T1.attention.rid (table.row.column), "
            f"got {claim_id!r}"
        )


def words(value: str | float) -> str:
    """A number with three significant digits; text as it is."""
    return value if isinstance(value, str) else f"{value:.3g}"


def _read(path: Path) -> Claim:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError(f"expected an object, got {type(content).__name__}")
        expected, found = {one.name for one in fields(Claim)}, set(content)
        if expected != found:
            lacks, strange = sorted(expected - found), sorted(found - expected)
            raise ValueError(f"keys: expected a claim's, got {lacks} missing, {strange} unknown")
        return Claim(**content)
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"results: expected a claim in {path.name}: {error}") from error


def _check_filled(claim_id: str, name: str, value: str | float) -> None:
    if isinstance(value, str):
        if not value.strip():
            raise ValueError(f"{name} of {claim_id}: expected words, got {value!r}")
    elif not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name} of {claim_id}: expected text or a finite number, got {value!r}")


def _check_verdict(claim: Claim) -> None:
    """A measured verdict is the rule's; without answers only a few verdicts can be given."""
    if claim.answers is None:
        if claim.verdict not in UNMEASURED:
            raise ValueError(
                f"verdict of {claim.id}: expected one of {UNMEASURED} without answers, "
                f"got {claim.verdict!r}"
            )
    elif claim.verdict != (ruled := in_words(claim.verdicts)):
        raise ValueError(
            f"verdict of {claim.id}: expected {ruled!r} by what was measured, got {claim.verdict!r}"
        )
