"""A claim of the paper and what a notebook found about it.

A claim has an id: C001 to C080 for the numbers and statements in the paper's running text
(data/paper/text_claims.csv), or a table cell such as T1.attention.rid (table, row, column).
A verdict says how far the measurement carries: small models can agree or disagree in
direction with the paper, but only published weights can reproduce one of its numbers.
"""

import json
import math
import re
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import pandas as pd

from lost_in_attention.files import replaced_when_complete
from lost_in_attention.paths import data_folder
from lost_in_attention.provenance import TIERS

VERDICTS = (
    "proved",
    "contradicted by proof",
    "same direction on small models",
    "different direction on small models",
    "needs published weights",
    "reproduced at tier paper",
    "not reproduced at tier paper",
    "undecided",
)
_TABLE_CELL = re.compile(r"T\d(\.[\w-]+)+")


@dataclass(frozen=True)
class Claim:
    """One claim of the paper, what was measured, and the verdict with its tolerance.

    Raises:
        ValueError: an unknown id or verdict, an empty text, a number that is not finite, or a
            verdict that the tier does not allow.
    """

    id: str
    statement: str
    paper: str | float
    measured: str | float
    verdict: str
    tolerance: str | float
    note: str = ""
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_id(self.id)
        for name in ("statement", "paper", "measured", "tolerance"):
            _check_filled(self.id, name, getattr(self, name))
        if self.verdict not in VERDICTS:
            raise ValueError(f"verdict must be one of {VERDICTS}; got {self.verdict!r}")
        for name in ("notebook", "tier"):
            if name not in self.provenance:
                raise ValueError(f"provenance of {self.id} must name its {name}")
        if self.tier not in TIERS:
            raise ValueError(f"tier of {self.id} must be one of {TIERS}; got {self.tier!r}")
        _check_verdict_fits(self.verdict, self.tier)

    @property
    def notebook(self) -> str:
        return self.provenance["notebook"]

    @property
    def tier(self) -> str:
        return self.provenance["tier"]

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


def agreement(agrees: bool | None, tier: str) -> str:
    """The verdict on a measured claim: whether it agrees (None: the interval leaves it open)."""
    if agrees is None:
        return "undecided"
    if tier == "paper":
        return "reproduced at tier paper" if agrees else "not reproduced at tier paper"
    return f"{'same' if agrees else 'different'} direction on small models"


def check_id(claim_id: str) -> None:
    """Raise ValueError unless the id names a text claim or has the form of a table cell."""
    if claim_id.startswith("C"):
        known = text_claims()["id"]
        if claim_id not in set(known):
            span = f"{known.iloc[0]} to {known.iloc[-1]}"
            raise ValueError(f"claim id {claim_id!r} is not in text_claims.csv ({span})")
    elif not _TABLE_CELL.fullmatch(claim_id):
        raise ValueError(
            f"claim id must be like C072 or T1.attention.rid (table.row.column), got {claim_id!r}"
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
            raise ValueError(f"keys missing: {lacks}; keys unknown: {strange}")
        return Claim(**content)
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"claim file {path.name}: {error}") from error


def _check_filled(claim_id: str, name: str, value: str | float) -> None:
    if isinstance(value, str):
        if not value.strip():
            raise ValueError(f"{name} of {claim_id} must not be empty")
    elif not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name} of {claim_id} must be text or a finite number, got {value!r}")


def _check_verdict_fits(verdict: str, tier: str) -> None:
    if verdict.endswith("on small models") and tier == "paper":
        raise ValueError(f"verdict {verdict!r} is for the small models, got tier 'paper'")
    if verdict.endswith("at tier paper") and tier != "paper":
        raise ValueError(f"verdict {verdict!r} needs tier 'paper', got tier {tier!r}")
