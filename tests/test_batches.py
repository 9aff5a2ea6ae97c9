"""Work in batches: what decides the rows is told apart, and nobody else writes meanwhile."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from lost_in_attention.benchmarks import load_benchmark
from lost_in_attention.evaluation.decoding import GREEDY, PAPER, replies
from lost_in_attention.models import load
from lost_in_attention.models import settings as settings_module
from lost_in_attention.models.settings import settings_of
from lost_in_attention.runs.batches import batches, check_batches, in_batches
from lost_in_attention.runs.run_file import RunFile


@pytest.fixture(scope="module")
def samples():
    return list(load_benchmark("pope").draw(2, seed=3))


@pytest.fixture
def vlm():
    return load("small-qwen2.5-vl")


def differences(one: dict, other: dict) -> set[str]:
    return {name for name in one.keys() | other.keys() if one.get(name) != other.get(name)}


def test_settings_are_those_of_the_same_things_loaded_again(vlm, samples):
    settings = settings_of(vlm, samples, 2, PAPER.arguments())
    assert json.loads(json.dumps(settings)) == settings
    replies(vlm, samples, GREEDY, seed=0)
    assert settings_of(vlm, samples, 2, PAPER.arguments()) == settings
    again = load_benchmark("pope").draw(2, seed=3)
    assert settings_of(load("small-qwen2.5-vl"), again, 2, PAPER.arguments()) == settings


def test_settings_tell_what_makes_the_inputs(vlm, samples, monkeypatch):
    settings = settings_of(vlm, samples, 2)
    processor, tokenizer = vlm.processor, vlm.processor.tokenizer
    with monkeypatch.context() as patch:
        patch.setattr(processor, "chat_template", processor.chat_template + " ")
        assert differences(settings, settings_of(vlm, samples, 2)) == {"chat_template"}
    with monkeypatch.context() as patch:
        patch.setattr(processor, "chat_template", None)
        patch.setattr(tokenizer, "chat_template", "{{ messages }}")
        assert differences(settings, settings_of(vlm, samples, 2)) == {"chat_template"}
    with monkeypatch.context() as patch:
        patch.setattr(processor.image_processor, "image_mean", (0.5, 0.5, 0.5))
        assert differences(settings, settings_of(vlm, samples, 2)) == {"processor"}
    with monkeypatch.context() as patch:
        patch.setattr(tokenizer, "padding_side", "right")
        assert differences(settings, settings_of(vlm, samples, 2)) == {"tokenizer"}


def test_settings_tell_the_model_and_the_libraries(vlm, samples, monkeypatch):
    settings = settings_of(vlm, samples, 2)
    with monkeypatch.context() as patch:
        patch.setattr(settings_module, "versions", lambda: {"transformers": "0"})
        assert differences(settings, settings_of(vlm, samples, 2)) == {"versions"}
    with monkeypatch.context() as patch:
        patch.setattr(vlm.model.config.text_config, "rms_norm_eps", 0.1)
        assert differences(settings, settings_of(vlm, samples, 2)) == {"architecture"}
    other = load("small-qwen2.5-vl", dtype=torch.bfloat16)
    assert differences(settings, settings_of(other, samples, 2)) == {"weights", "architecture"}


def test_settings_tell_how_replies_are_generated(vlm, samples):
    sampled, greedy = (
        settings_of(vlm, samples, 2, decoding.arguments()) for decoding in (PAPER, GREEDY)
    )
    assert differences(sampled, greedy) == {"generation"}
    vlm.model.generation_config.update(do_sample=True, temperature=4.0)
    assert differences(sampled, settings_of(vlm, samples, 2, PAPER.arguments())) == {"generation"}
    assert settings_of(vlm, samples, 2, GREEDY.arguments()) == greedy, "greedy overrides these"
    vlm.model.generation_config.update(eos_token_id=5)
    assert differences(greedy, settings_of(vlm, samples, 2, GREEDY.arguments())) == {"generation"}


def image(size=(4, 6), mode="RGB", palette=None) -> Image.Image:
    made = Image.frombytes(
        mode, size, bytes(range(size[0] * size[1] * (3 if mode == "RGB" else 1)))
    )
    if palette:
        made.putpalette(palette)
    return made


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "x"},
        {"question": "x"},
        {"prompt": "x"},
        {"answer": "x"},
        {"group": "x"},
        {"image_source": "x"},
        {"options": {"A": "x"}},
        {"fields": {"set_id": "x"}},
        {"images": ()},
        {"images": (image((6, 4)),)},
        {"images": (image((6, 12), "L"),)},
        {"images": (image(), image())},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_settings_tell_every_field_of_a_sample(vlm, samples, changes):
    first = replace(samples[0], images=(image(),))
    settings = settings_of(vlm, [first], 2)
    assert differences(settings, settings_of(vlm, [replace(first, **changes)], 2)) == {"questions"}


def test_settings_tell_the_order_of_options_and_the_colours_of_a_palette(vlm, samples):
    def told(**changes):
        return settings_of(vlm, [replace(samples[0], **changes)], 2)["questions"]

    assert told(options={"A": "1", "B": "2"}) != told(options={"B": "2", "A": "1"})
    one, other = (image(mode="P", palette=[first, 0, 0] * 24) for first in (1, 2))
    assert one.tobytes() == other.tobytes() and told(images=(one,)) != told(images=(other,))


def worked(output, ids="abcde", resume=False) -> tuple[list[dict], list[list[str]]]:
    """Rows of samples with these ids, and the batches that were worked on."""
    batches = []

    def work(number, batch):
        batches.append([sample.id for sample in batch])
        return [{"sample": sample.id, "batch": number} for sample in batch]

    rows = in_batches(
        work, [SimpleNamespace(id=name) for name in ids], batch_size=2, settings=dict,
        device=torch.device("cpu"), label="test", output=output, resume=resume,
    )  # fmt: skip
    return rows, batches


def test_a_second_process_is_refused_before_it_works(tmp_path):
    path = tmp_path / "run.jsonl"
    rows, _ = worked(path)
    with RunFile(path, {}, []).alone():
        before = path.read_bytes()
        with pytest.raises(BlockingIOError, match="output: expected no other process at work on"):
            worked(path, resume=True)
        assert path.read_bytes() == before
    assert worked(path, resume=True) == (rows, [])
    assert worked(None) == (rows, [["a", "b"], ["c", "d"], ["e"]])


def test_rows_of_samples_in_another_order_are_refused(tmp_path):
    path = tmp_path / "run.jsonl"
    worked(path)
    with pytest.raises(ValueError, match="output: expected sample 'c' in row 2 of .* got 'b'"):
        worked(path, "acbde", resume=True)


def test_the_file_is_free_again_after_an_error(tmp_path):
    path = tmp_path / "run.jsonl"
    with pytest.raises(TypeError):
        worked(path, [*"abc", {1}])
    assert worked(path, [*"abc", "d"], resume=True)[1] == [["c", "d"]]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("samples", "batch_size", "message"),
    [
        ([], 1, "samples: expected at least one, got none"),
        ([1], 0, "batch_size: expected at least 1, got 0"),
        ([1], 2.0, "batch_size: expected a whole number, got 2.0"),
        ([1], True, "batch_size: expected a whole number, got True"),
        ([1], float("nan"), "batch_size: expected a whole number, got nan"),
    ],
)
def test_bad_batches_are_refused(samples, batch_size, message):
    with pytest.raises(ValueError, match=message):
        check_batches(samples, batch_size)


def test_batches_of_no_size_are_refused():
    with pytest.raises(ValueError, match="batch_size: expected at least 1, got 0"):
        list(batches(["a"], 0, "nothing"))
