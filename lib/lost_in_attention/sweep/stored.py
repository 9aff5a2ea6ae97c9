"""Results that are kept: one Parquet file a model, and a JSON file that says how it was made."""

import json
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from lost_in_attention import provenance
from lost_in_attention.files import replaced_when_complete
from lost_in_attention.paths import data_folder
from lost_in_attention.provenance import Scalar, without_folders
from lost_in_attention.sweep.variants import Variant

# What is varied: prior and preset, or the place.
GRIDS = ("default", "ablations")


def results_path(model: str, grid: str, folder: Path | None = None) -> Path:
    """<folder>/sap-<model>.parquet, or sap-ablations-<model>.parquet; data/results by default.

    Raises ValueError on an unknown grid.
    """
    if grid not in GRIDS:
        raise ValueError(f"grid: expected one of {list(GRIDS)}, got {grid!r}")
    name = str(without_folders(model)).strip("/").replace("/", "--")
    prefix = "sap" if grid == "default" else "sap-ablations"
    return (folder or data_folder() / "results") / f"{prefix}-{name}.parquet"


def write_results(
    table: pd.DataFrame,
    path: Path,
    *,
    options: dict[str, Scalar],
    weights: str,
    variants: Sequence[Variant],
    started: datetime,
) -> None:
    """Write the answers to `path` and their origin beside it, with suffix .json.

    `options` are those of the command that makes the same file again, `weights` is the
    `provenance.weights_digest` of the model.
    """
    settings = {name: without_folders(value) for name, value in options.items()}
    named = [f"--{name.replace('_', '-')} {shlex.quote(str(v))}" for name, v in settings.items()]
    origin = {
        "command": " ".join(["python -m lost_in_attention sap", *named]),
        "options": settings,
        "weights": weights,
        "tier": "book" if settings["source"] == "digits" else "paper",
        "questions": int(table.drop_duplicates(["benchmark", "sample"]).shape[0]),
        "rows": len(table),
        "variants": [variant.description for variant in variants],
        "versions": provenance.versions(),
        "device": provenance.device(),
        "started": started.isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    with replaced_when_complete(path.with_suffix(".json")) as part:
        part.write_text(json.dumps(origin, indent=1, ensure_ascii=False) + "\n")
    with replaced_when_complete(path) as part:
        table.to_parquet(part, index=False, compression="zstd")


def read_results(
    models: Sequence[str], grid: str = "default", folder: Path | None = None
) -> tuple[pd.DataFrame | None, dict[str, dict]]:
    """The stored answers of those models that have some (None if none has), and each one's origin.

    Raises ValueError on an unknown grid.
    """
    tables, origins = [], {}
    for model in models:
        path = results_path(model, grid, folder)
        if path.exists():
            tables.append(pd.read_parquet(path))
            origins[model] = json.loads(path.with_suffix(".json").read_text())
    return pd.concat(tables, ignore_index=True) if tables else None, origins
