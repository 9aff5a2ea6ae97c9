"""A table that grows on disk batch by batch, and can be gone on with after a crash.

`path` holds one JSON object a row, in order.  Beside it lie <path>.settings.json, what the rows
were made with, and <path>.checksums, a line for each write: where it ends, and its SHA-256.  Rows
are synced before their checksum is written, so a crash leaves at most rows without one; they are
dropped when the run goes on, as is what a cut took a part of.  Rows that are not as they were
written are refused.  <path>.lock keeps a second run out.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from filelock import FileLock, Timeout

from lost_in_attention.runs.files import replaced_when_complete
from lost_in_attention.runs.paths import check_writable


@runtime_checkable
class Identified(Protocol):
    """What a row can name: a sample, or anything else with an id."""

    @property
    def id(self) -> str:
        """What tells it from the others."""
        ...


@dataclass(frozen=True)
class RunFile:
    """The rows of one run: `rows_each` for each of `samples` in the end, in the samples' order.

    A row names its sample in "sample".
    """

    path: Path
    settings: Mapping[str, Any]
    samples: Sequence[Identified]
    rows_each: int = 1

    @property
    def settings_path(self) -> Path:
        """Where the settings lie that the rows were made with."""
        return self.path.with_name(f"{self.path.name}.settings.json")

    @property
    def checksums_path(self) -> Path:
        """Where the rows' checksums lie."""
        return self.path.with_name(f"{self.path.name}.checksums")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Within the block no other run of the file gets in; a process that dies is out.

        Raises BlockingIOError if another run is in, ValueError if the folder cannot be written.
        """
        check_writable("output", self.path.parent)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{self.path}.lock", blocking=False)
        try:
            lock.acquire()
        except Timeout as error:
            raise BlockingIOError(
                f"output: expected no other process at work on {self.path}, found one"
            ) from error
        try:
            yield
        finally:
            lock.release()

    def begin(self, *, resume: bool) -> list[dict]:
        """The rows that are done; makes the files if there are none.

        Raises:
            FileExistsError: a run lies there and `resume` is False.
            ValueError: it was made with other settings or of other samples, or something in its
                files is missing or is not what was written.
        """
        if not self.path.exists() and not self.settings_path.exists():
            self.checksums_path.write_bytes(b"")
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
        return self._whole_rows()

    def append(self, rows: Sequence[Mapping]) -> None:
        """Add the rows of whole batches in one write; they are on disk when this returns."""
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
        end = _append(self.path, lines)
        _append(self.checksums_path, _checksum(end, lines))

    def _check_settings(self) -> None:
        kept, own = self._kept_settings(), json.loads(json.dumps(self.settings))
        names = sorted(kept.keys() | own.keys())
        other = [name for name in names if kept.get(name) != own.get(name)]
        if other:
            differences = "; ".join(
                f"{name} {kept.get(name)!r} there, {own.get(name)!r} now" for name in other
            )
            raise ValueError(
                f"output: expected a run with the same settings in {self.path}, got {differences}"
            )

    def _kept_settings(self) -> dict[str, Any]:
        if not self.settings_path.exists():
            raise ValueError(f"output: expected settings in {self.settings_path}, found none")
        try:
            return dict(json.loads(self.settings_path.read_text()))
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"output: expected settings as JSON in {self.settings_path}: {error}"
            ) from error

    def _whole_rows(self) -> list[dict]:
        """The rows that were written whole; both files are cut after them."""
        content = self.path.read_bytes() if self.path.exists() else b""
        if content and not self.checksums_path.exists():
            raise ValueError(f"output: expected checksums in {self.checksums_path}, found none")
        checksums = self.checksums_path.read_bytes() if self.checksums_path.exists() else b""
        rows_end, checksums_end = self._ends(content, checksums)
        rows = [json.loads(line) for line in content[:rows_end].splitlines()]
        self._check_samples(rows)
        for path, end in ((self.path, rows_end), (self.checksums_path, checksums_end)):
            with path.open("ab") as file:
                file.truncate(end)
        return rows

    def _ends(self, content: bytes, checksums: bytes) -> tuple[int, int]:
        """Where the last whole write ends, and its checksum."""
        start = checked = 0
        for line in checksums.splitlines(keepends=True):
            if not line.endswith(b"\n"):
                break
            number = line.partition(b" ")[0]
            end = int(number) if number.isdigit() else start
            if end > len(content):
                break
            if line != _checksum(end, content[start:end]):
                raise ValueError(
                    f"output: expected {self.path} as it was written, got something else "
                    f"behind its byte {start}"
                )
            start, checked = end, checked + len(line)
        return start, checked

    def _check_samples(self, rows: Sequence[Mapping]) -> None:
        total = len(self.samples) * self.rows_each
        if len(rows) > total:
            raise ValueError(
                f"output: expected at most {total} rows in {self.path}, got {len(rows)}"
            )
        ids = (sample.id for sample in self.samples for _ in range(self.rows_each))
        for number, (row, own) in enumerate(zip(rows, ids, strict=False), start=1):
            if row.get("sample") != own:
                raise ValueError(
                    f"output: expected sample {own!r} in row {number} of {self.path}, "
                    f"got {row.get('sample')!r}"
                )


def _append(path: Path, content: bytes) -> int:
    """Add to a file; the content is on disk when this returns.  Returns the file's new length."""
    with path.open("ab") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
        return file.tell()


def _checksum(end: int, content: bytes) -> bytes:
    return f"{end} {hashlib.sha256(content).hexdigest()}\n".encode()
