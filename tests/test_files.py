"""Files and folders are the old one or the new one, whole, whenever somebody looks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lost_in_attention.runs.files import replace_folder, replaced_when_complete


def test_a_file_is_replaced_when_its_block_succeeds(tmp_path):
    path = tmp_path / "deep" / "a.txt"
    with replaced_when_complete(path) as part:
        part.write_text("one")
        assert not path.exists()
    with pytest.raises(KeyboardInterrupt), replaced_when_complete(path) as part:
        part.write_text("half of tw")
        raise KeyboardInterrupt
    assert path.read_text() == "one"
    assert list(path.parent.iterdir()) == [path]


def folder(path: Path, content: str) -> Path:
    path.mkdir(parents=True)
    for name in "ab":
        (path / name).write_text(content)
    return path


def contents(path: Path) -> list[str]:
    return [(path / name).read_text() for name in "ab"]


def test_a_folder_is_replaced_and_the_old_one_goes(tmp_path):
    for content in ("one", "two"):
        replace_folder(folder(tmp_path / "new", content), tmp_path / "place" / "m")
        assert contents(tmp_path / "place" / "m") == [content] * 2
    assert [path.name for path in (tmp_path / "place").iterdir()] == ["m"]


def test_a_rename_that_fails_leaves_the_old_folder(tmp_path):
    old = folder(tmp_path / "m", "one")
    with pytest.raises(FileNotFoundError):
        replace_folder(tmp_path / "missing", old)
    assert contents(old) == ["one"] * 2
    assert list(tmp_path.iterdir()) == [old]


# Dies, as if killed, at the given call of the given function.
DYING = """
import os, pathlib, shutil, sys
from lost_in_attention.runs import files
name, at, new, old = sys.argv[1], int(sys.argv[2]), *map(pathlib.Path, sys.argv[3:])
owner = shutil if name == "rmtree" else pathlib.Path
real, calls = getattr(owner, name), []
def dying(*args, **options):
    calls.append(1)
    if len(calls) == at:
        os._exit(9)
    return real(*args, **options)
setattr(owner, name, dying)
files.replace_folder(new, old)
"""


@pytest.mark.parametrize("death", ["rename-1", "rename-2", "rmtree-2"])
def test_a_kill_at_any_step_leaves_a_whole_folder_that_the_next_call_finds(tmp_path, death):
    old, new = folder(tmp_path / "m", "one"), folder(tmp_path / ".x" / "m", "two")
    command = [sys.executable, "-c", DYING, *death.split("-"), str(new), str(old)]
    assert subprocess.run(command, env=os.environ).returncode == 9
    whole = {"rename-1": old, "rename-2": tmp_path / ".replaced" / "m", "rmtree-2": old}[death]
    assert contents(whole) == (["two"] * 2 if death == "rmtree-2" else ["one"] * 2)
    with pytest.raises(FileNotFoundError):
        replace_folder(tmp_path / "missing", old)
    assert contents(old) == (["two"] * 2 if death == "rmtree-2" else ["one"] * 2)
    assert not (tmp_path / ".replaced").exists()
