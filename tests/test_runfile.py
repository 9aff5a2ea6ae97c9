"""Run files: whole batches survive any cut, and another run's file is left alone."""

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lost_in_attention.runfile import RunFile

ROWS = [{"sample": f"é{i}", "parsed": None if i % 2 else "a\nb\u2028c"} for i in range(7)]
SETTINGS = {"model": "m", "seed": 0}


def run_file(folder, **changes) -> RunFile:
    values = {"path": Path(folder) / "run.jsonl", "settings": SETTINGS, "batch_size": 3, "total": 7}
    return RunFile(**values | changes)


def written(folder) -> RunFile:
    run = run_file(folder)
    assert run.begin(resume=False) == []
    for start in (0, 3, 6):
        run.append(ROWS[start : start + 3])
    return run


def test_rows_come_back_as_they_were(tmp_path):
    run = written(tmp_path)
    assert run.begin(resume=True) == ROWS
    assert [json.loads(line) for line in run.path.open()] == ROWS


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.data())
def test_a_file_cut_anywhere_keeps_its_whole_batches(data):
    with tempfile.TemporaryDirectory() as folder:
        run = written(folder)
        whole = run.path.read_bytes()
        cut = data.draw(st.integers(0, len(whole)))
        run.path.write_bytes(whole[:cut])
        rows = run.begin(resume=True)
        lines = whole[:cut].count(b"\n")
        assert rows == ROWS[: lines if lines == 7 else lines // 3 * 3]
        run.append(ROWS[len(rows) :])
        assert run.path.read_bytes() == whole


def test_a_crash_between_the_two_files_leaves_an_empty_run(tmp_path):
    run = written(tmp_path)
    run.path.unlink()
    assert run.begin(resume=True) == [] and run.path.read_bytes() == b""


def test_a_run_is_not_overwritten(tmp_path):
    run = written(tmp_path)
    before = run.path.read_bytes()
    with pytest.raises(FileExistsError, match="output: expected no run in .*run.jsonl"):
        run.begin(resume=False)
    with pytest.raises(ValueError, match="seed 0 there, 1 now"):
        run_file(tmp_path, settings=SETTINGS | {"seed": 1}).begin(resume=True)
    assert run.path.read_bytes() == before


def test_strange_files_are_refused(tmp_path):
    run = written(tmp_path)
    with pytest.raises(ValueError, match="expected at most 6 rows in .*, got 7"):
        run_file(tmp_path, total=6).begin(resume=True)
    lines = run.path.read_bytes().splitlines(keepends=True)
    run.path.write_bytes(b"".join([lines[0], b"{\n", *lines[2:]]))
    with pytest.raises(ValueError, match="expected JSON in line 2 of .*run.jsonl"):
        run.begin(resume=True)
    run.settings_path.unlink()
    with pytest.raises(ValueError, match="expected settings in .*run.jsonl.settings.json"):
        run.begin(resume=True)
