"""Tables that are kept: a Parquet file, and a JSON file beside it that says how it was made."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from lost_in_attention.runs.files import replaced_when_complete

# In the JSON file: what the Parquet file must be.
DIGEST = "answers"


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


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
