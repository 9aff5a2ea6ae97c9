"""Tables that are kept: a Parquet file, and a JSON file beside it that says how it was made."""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from lost_in_attention.runs.files import replaced_when_complete

# In the JSON file: what the Parquet file must be.
DIGEST = "answers"
# What is said of the Parquet file alone.
OWN = (DIGEST, "rows")


def write_table(path: Path, table: pd.DataFrame, facts: Mapping[str, Any]) -> None:
    """Write the table to `path`, and the facts, the rows' number and a digest to <path>.json.

    Both are complete before either is renamed; `read_table` notices a pair that does not match.
    """
    with (
        replaced_when_complete(path.with_suffix(".json")) as said,
        replaced_when_complete(path) as part,
    ):
        table.to_parquet(part, index=False, compression="zstd")
        content = dict(facts) | {DIGEST: _digest(part), "rows": len(table)}
        said.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def read_table(path: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table at `path` and its facts.

    Raises ValueError if the table is not the one that its facts are about.
    """
    facts = read_facts(path)
    if facts.get(DIGEST) != _digest(path):
        raise ValueError(
            f"results: expected rows that {path.with_suffix('.json').name} is about, "
            f"got others in {path}; make both again"
        )
    return pd.read_parquet(path), facts


def read_facts(path: Path) -> dict[str, Any]:
    """What is said of the table at `path`; nothing where the JSON file is missing.

    Raises ValueError if that file cannot be read.
    """
    said = path.with_suffix(".json")
    try:
        return dict(json.loads(said.read_text())) if said.exists() else {}
    except (ValueError, TypeError) as error:
        raise ValueError(f"results: expected facts as JSON in {said}: {error}") from error


def table_made_with(
    path: Path, same: Mapping[str, Any], least: Mapping[str, float] | None = None
) -> tuple[pd.DataFrame, dict[str, Any]] | None:
    """The table at `path` and its facts, where they say what is asked for; None elsewhere.

    `same` are facts that must be equal, such as the digests of a model's weights and of its
    samples; `least` are numbers that must be reached.  None too where there is no table.

    Raises what `read_table` does.
    """
    facts = read_facts(path)
    # As JSON has it: a tuple comes back as a list.
    alike = all(facts.get(name) == value for name, value in json.loads(json.dumps(same)).items())
    enough = all(facts.get(name, -math.inf) >= value for name, value in (least or {}).items())
    return read_table(path) if path.exists() and alike and enough else None


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
