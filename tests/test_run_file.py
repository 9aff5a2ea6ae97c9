"""Run files: whole batches survive any cut, and what was not written so is refused."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lost_in_attention.runs.run_file import RunFile

ROWS = [{"sample": f"é{i}", "parsed": None if i % 2 else "a\nb\u2028c"} for i in range(7)]
SAMPLES = [SimpleNamespace(id=row["sample"]) for row in ROWS]
SETTINGS = {"model": "m", "seed": 0, "sizes": (1, 2)}
BATCH = 3


@pytest.fixture(scope="module", autouse=True)
def without_waiting_for_the_disk():
    """Power stays on here: what is lost with it cannot be tested."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        yield


def run_file(folder, **changes) -> RunFile:
    values = {"path": Path(folder) / "run.jsonl", "settings": SETTINGS, "samples": SAMPLES}
    return RunFile(**values | changes)


def go_on(run: RunFile, rows: list[dict] = ROWS) -> list[dict]:
    """Write what is missing, batch by batch; what had been there."""
    there = run.begin(resume=True)
    for start in range(len(there), len(rows), BATCH):
        run.append(rows[start : start + BATCH])
    return there


def written(folder) -> RunFile:
    run = run_file(folder)
    assert go_on(run) == []
    return run


def contents(run: RunFile) -> tuple[bytes, bytes]:
    return run.path.read_bytes(), run.checksums_path.read_bytes()


def lay(run: RunFile, rows: bytes, checksums: bytes) -> None:
    run.path.write_bytes(rows)
    run.checksums_path.write_bytes(checksums)


def test_rows_come_back_as_they_were(tmp_path):
    run = written(tmp_path)
    assert run.begin(resume=True) == ROWS
    assert [json.loads(line) for line in run.path.open()] == ROWS
    assert pd.read_json(run.path, lines=True).equals(pd.DataFrame(ROWS))


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.data())
def test_a_file_cut_anywhere_keeps_its_whole_batches(data):
    with tempfile.TemporaryDirectory() as folder:
        run = written(folder)
        rows, checksums = contents(run)
        cut = data.draw(st.integers(0, len(rows)))
        run.path.write_bytes(rows[:cut])
        lines = rows[:cut].count(b"\n")
        assert go_on(run) == ROWS[: lines if lines == 7 else lines // BATCH * BATCH]
        assert contents(run) == (rows, checksums)


def test_a_kill_at_any_byte_of_a_batch_costs_that_batch_alone(tmp_path):
    """Rows come first, then their checksum: these are all states that a kill can leave."""
    run = written(tmp_path)
    rows, checksums = contents(run)
    first_rows = len(b"".join(rows.splitlines(keepends=True)[:BATCH]))
    second_rows = len(b"".join(rows.splitlines(keepends=True)[: 2 * BATCH]))
    first_sum, second_sum = checksums.index(b"\n") + 1, checksums.rindex(b"\n", 0, -1) + 1
    states = [(end, first_sum) for end in range(first_rows, second_rows + 1)]
    states += [(second_rows, end) for end in range(first_sum, second_sum)]
    for rows_end, checksums_end in states:
        lay(run, rows[:rows_end], checksums[:checksums_end])
        assert go_on(run) == ROWS[:BATCH]
        assert contents(run) == (rows, checksums)


def test_no_flipped_bit_is_taken_for_a_row(tmp_path):
    run = written(tmp_path)
    rows, checksums = contents(run)
    for place in range(len(rows)):
        changed = bytearray(rows)
        changed[place] ^= 1 << place % 8
        lay(run, bytes(changed), checksums)
        with pytest.raises(ValueError, match="output: expected .*run.jsonl as it was written"):
            run.begin(resume=True)
        assert contents(run) == (bytes(changed), checksums)
    for place in range(len(checksums)):
        changed = bytearray(checksums)
        changed[place] ^= 1 << place % 8
        lay(run, rows, bytes(changed))
        try:
            go_on(run)
        except ValueError as refusal:
            assert "as it was written" in str(refusal)
        else:
            assert contents(run) == (rows, checksums)


@pytest.mark.parametrize("line", range(7))
def test_a_deleted_line_misplaces_no_row(tmp_path, line):
    run = written(tmp_path)
    rows, checksums = contents(run)
    lines = rows.splitlines(keepends=True)
    run.path.write_bytes(b"".join(lines[:line] + lines[line + 1 :]))
    if line < 6:
        with pytest.raises(ValueError, match="as it was written"):
            run.begin(resume=True)
    else:
        assert go_on(run) == ROWS[:6]
        assert contents(run) == (rows, checksums)


def test_rows_of_other_samples_are_refused(tmp_path):
    written(tmp_path)
    others = [*SAMPLES[:4], SAMPLES[5], SAMPLES[4], SAMPLES[6]]
    with pytest.raises(ValueError, match="output: expected sample 'é5' in row 5 .* got 'é4'"):
        run_file(tmp_path, samples=others).begin(resume=True)
    with pytest.raises(ValueError, match="output: expected sample 'é0' in row 2 .* got 'é1'"):
        run_file(tmp_path, rows_each=2).begin(resume=True)


def test_a_crash_between_the_files_leaves_an_empty_run(tmp_path):
    run = written(tmp_path)
    run.path.unlink()
    assert run.begin(resume=True) == [] and contents(run) == (b"", b"")
    for path in (run.path, run.checksums_path):
        path.unlink()
    assert go_on(run) == [] and run.begin(resume=True) == ROWS
    # A new run does not take up what is left of an old one.
    run.path.unlink()
    run.settings_path.unlink()
    assert go_on(run, ROWS[:BATCH]) == [] and run.begin(resume=True) == ROWS[:BATCH]


def test_a_run_is_not_overwritten(tmp_path):
    run = written(tmp_path)
    before = contents(run)
    with pytest.raises(FileExistsError, match="output: expected no run in .*run.jsonl"):
        run.begin(resume=False)
    with pytest.raises(ValueError, match="seed 0 there, 1 now"):
        run_file(tmp_path, settings=SETTINGS | {"seed": 1}).begin(resume=True)
    assert contents(run) == before


def test_strange_files_are_refused(tmp_path):
    run = written(tmp_path)
    with pytest.raises(ValueError, match="expected at most 6 rows in .*, got 7"):
        run_file(tmp_path, samples=SAMPLES[:6]).begin(resume=True)
    run.checksums_path.unlink()
    with pytest.raises(ValueError, match="output: expected checksums in .*run.jsonl.checksums"):
        run.begin(resume=True)
    for damaged in ('{"model": "m", ', "[1, 2]", "3"):
        run.settings_path.write_text(damaged)
        with pytest.raises(ValueError, match="output: expected settings as JSON in .*run.jsonl.se"):
            run.begin(resume=True)
    run.settings_path.unlink()
    with pytest.raises(ValueError, match="expected settings in .*run.jsonl.settings.json"):
        run.begin(resume=True)


def test_a_place_that_cannot_be_written_is_refused_early(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(ValueError, match="output: expected a place that can be written"),
        run_file(tmp_path / "file" / "folder").alone(),
    ):
        pass


def test_one_run_at_a_time(tmp_path):
    message = "output: expected no other process at work on .*run.jsonl, found one"
    with run_file(tmp_path).alone():
        with pytest.raises(BlockingIOError, match=message), run_file(tmp_path).alone():
            pass
        with run_file(tmp_path / "another").alone():
            pass
    with run_file(tmp_path).alone():
        pass


# Says "written" after its first batch, and goes no further.
WRITER = """
import sys
from pathlib import Path
from types import SimpleNamespace
from lost_in_attention.runs.run_file import RunFile
path, *ids = sys.argv[1:]
run = RunFile(Path(path), {}, [SimpleNamespace(id=name) for name in ids])
with run.alone():
    run.begin(resume=False)
    run.append([{"sample": name} for name in ids[:3]])
    print("written", flush=True)
    input()
"""


def test_a_killed_process_lets_the_next_one_go_on(tmp_path):
    run = run_file(tmp_path, settings={})
    rows = [{"sample": sample.id} for sample in SAMPLES]
    command = [sys.executable, "-c", WRITER, str(run.path), *(sample.id for sample in SAMPLES)]
    writer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert writer.stdout.readline() == "written\n"
        with pytest.raises(BlockingIOError, match="expected no other process"), run.alone():
            pass
    finally:
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
    with run.alone():
        assert go_on(run, rows) == rows[:BATCH]
        assert run.begin(resume=True) == rows
