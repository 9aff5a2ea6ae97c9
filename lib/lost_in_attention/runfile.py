"""A table that grows on disk batch by batch, and can be gone on with after a crash.

`path` holds one JSON object a row, in order; what the rows were made with lies beside it in
<path>.settings.json.  Batches are appended whole and synced, so a crash can tear only the last
ones; what is torn is dropped when the run goes on.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lost_in_attention.files import replaced_when_complete


@dataclass(frozen=True)
class RunFile:
    """The rows of one run: `total` of them in the end, written `batch_size` at a time."""

    path: Path
    settings: Mapping[str, Any]
    batch_size: int
    total: int

    @property
    def settings_path(self) -> Path:
        return self.path.with_name(f"{self.path.name}.settings.json")

    def begin(self, *, resume: bool) -> list[dict]:
        """The rows of the batches that are done; makes the files if there are none.

        Raises:
            FileExistsError: a run lies there and `resume` is False.
            ValueError: it was made with other settings, its settings are missing, a line is not
                JSON, or there are more than `total`.
        """
        if not self.path.exists() and not self.settings_path.exists():
            with replaced_when_complete(self.settings_path) as part:
                part.write_text(json.dumps(self.settings, indent=1, ensure_ascii=False) + "\n")
            self.path.touch()
            return []
        if not resume:
            raise FileExistsError(
                f"output: expected no run in {self.path}, found one; "
                "resume it or choose another name"
            )
        self._check_settings()
        return self._whole_batches()

    def append(self, rows: Sequence[Mapping]) -> None:
        """Add the rows of whole batches in one write; they are on disk when this returns."""
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        with self.path.open("ab") as file:
            file.write(lines.encode())
            file.flush()
            os.fsync(file.fileno())

    def _check_settings(self) -> None:
        if not self.settings_path.exists():
            raise ValueError(f"output: expected settings in {self.settings_path}, found none")
        kept = json.loads(self.settings_path.read_text())
        names = sorted(kept.keys() | self.settings.keys())
        other = [name for name in names if kept.get(name) != self.settings.get(name)]
        if other:
            differences = "; ".join(
                f"{name} {kept.get(name)!r} there, {self.settings.get(name)!r} now"
                for name in other
            )
            raise ValueError(
                f"output: expected a run with the same settings in {self.path}, got {differences}"
            )

    def _whole_batches(self) -> list[dict]:
        """The rows before the first torn batch; the file is cut after them."""
        content = self.path.read_bytes() if self.path.exists() else b""
        lines = content[: content.rfind(b"\n") + 1].splitlines(keepends=True)
        if len(lines) > self.total:
            raise ValueError(
                f"output: expected at most {self.total} rows in {self.path}, got {len(lines)}"
            )
        if len(lines) < self.total:
            lines = lines[: len(lines) // self.batch_size * self.batch_size]
        rows = [self._row(line, number) for number, line in enumerate(lines, start=1)]
        with self.path.open("ab") as file:
            file.truncate(sum(map(len, lines)))
        return rows

    def _row(self, line: bytes, number: int) -> dict:
        try:
            return json.loads(line)
        except ValueError as error:
            raise ValueError(
                f"output: expected JSON in line {number} of {self.path}: {error}"
            ) from error
