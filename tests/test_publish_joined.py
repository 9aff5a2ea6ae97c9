"""The folder of a joined model is whole: parts, card, numbers of the run, and it loads."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from lost_in_attention.evaluation.perplexity import surprise
from lost_in_attention.models import load
from lost_in_attention.models.text_decoder import load_text_decoder
from lost_in_attention.texts import passages
from lost_in_attention.training import joining, publish_joined, tower
from lost_in_attention.training.joining import PHASES, JoiningConfig, train_adapters
from lost_in_attention.training.tower import NAMED, STATE, TowerConfig, train_tower

SHORT = JoiningConfig(
    steps=2, practice=1, placing=1, review=1, batch=1, questions=2, rank=2, warmup=1
)


@pytest.fixture(scope="module")
def runs(decoder, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tower, "_CHECKED", 2)
        patch.setattr(tower, "_NAMED_SCENES", 2)
        train_tower(TowerConfig(steps=1, near_steps=1, batch=1), runs=folder, decoder=decoder)
    return folder


@pytest.fixture(scope="module")
def state(runs) -> Path:
    return runs / "tower" / tower.STATE


@pytest.fixture(scope="module")
def published(decoder, runs, state, tmp_path_factory) -> Path:
    told = publish_joined.read_tower(state)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publish_joined, "PASSAGES", 2)
        patch.setattr(joining, "_PLACE_IMAGES", 2)
        vlm = train_adapters(SHORT, tower=state, runs=runs, decoder=decoder)
        return publish_joined.publish_joined(
            vlm, SHORT, tower=told, runs=runs, output=tmp_path_factory.mktemp("models"),
            questions=2, decoder=decoder,
        )  # fmt: skip


def test_it_loads_with_the_decoder_that_it_names(published, decoder):
    assert load(published, decoder=decoder).name == SHORT.name


def test_the_card_has_the_runs_numbers(published, runs):
    facts = json.loads((published / "training.json").read_text())
    words = (published / "README.md").read_text()
    named = json.loads((runs / "tower" / NAMED).read_text())
    assert facts["tower"]["named"] == named and named.keys() == {"train", "validation", "heldout"}
    assert "{" not in words
    # All of so short a first phase looks; none is left for the questions of all sets.
    assert " 2 steps ask in few words" in words and " 0 the questions of all seven" in words
    assert f"{facts['perplexity']['joined']:.1f}" in words
    assert all(command in words for command in facts["commands"])
    overall = [row for row in facts["accuracy"] if row["group"] == "all"]
    assert len(overall) == 14 and all(row["questions"] == 2 for row in overall)


def test_the_curve_has_all_phases(published):
    lines = (published / "training_curve.csv").read_text().splitlines()
    phases = {line.split(",")[0] for line in lines[1:]}
    assert phases == {*tower.PHASES, *PHASES} and (published / "training_curve.png").is_file()


def test_perplexity_is_that_of_the_decoder_where_adapters_are_nothing(published, decoder):
    """Adapters of two steps have moved hardly: B starts at zero."""
    ratio = json.loads((published / "training.json").read_text())["perplexity"]["ratio"]
    assert ratio == pytest.approx(1, abs=0.05)


def test_surprise_is_the_models_own_loss(decoder):
    vlm, [sample] = load_text_decoder(decoder), passages()[:1]
    ids = vlm.processor.tokenizer(sample.prompt, return_tensors="pt")["input_ids"]
    row = surprise(vlm, [sample]).iloc[0]
    loss = vlm.model(input_ids=ids, labels=ids).loss.item()
    assert row["surprise"] == pytest.approx(loss, rel=1e-5)
    assert row["tokens"] == ids.shape[1] - 1


def test_surprise_refuses_what_is_no_text(decoder):
    vlm, [sample] = load_text_decoder(decoder), passages()[:1]
    for bad, message in (
        ([], "at least one, got none"),
        (
            [replace(sample, images=(Image.new("RGB", (8, 8)),))],
            f"texts without images, got images in {sample.id}",
        ),
        ([replace(sample, prompt="a")], f"at least two tokens in {sample.id}, got one"),
    ):
        with pytest.raises(ValueError, match=f"samples: expected {message}"):
            surprise(vlm, bad)


def test_a_run_that_is_not_complete_is_refused(tmp_path):
    for name in (STATE, "tower.safetensors"):
        with pytest.raises(ValueError, match=f"tower: expected {STATE} of a .* got {name}"):
            publish_joined.read_tower(tmp_path / name)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        (NAMED, "[]"),
        (NAMED, "{}"),
        ("config.json", "{}"),
        ("config.json", '{"config": {"paces": 3}}'),
        ("config.json", "{"),
        (STATE, "junk"),
        ("tower.safetensors", "junk"),
    ],
)
def test_files_that_do_not_say_what_a_towers_run_does_are_refused(state, tmp_path, file, content):
    shutil.copytree(state.parent, tmp_path / "tower")
    (tmp_path / "tower" / file).write_text(content)
    with pytest.raises(ValueError, match="tower: expected the files of a complete run") as refused:
        publish_joined.read_tower(tmp_path / "tower" / STATE)
    assert "\n" not in str(refused.value)


def test_what_is_no_model_in_parts_is_not_replaced(published, tmp_path):
    publish_joined.check_replaceable(published)
    publish_joined.check_replaceable(tmp_path / "new")
    (tmp_path / "other").mkdir()
    publish_joined.check_replaceable(tmp_path / "other")
    (tmp_path / "other" / "thesis.txt").touch()
    (tmp_path / "link").symlink_to(published)
    for name in ("other", "other/thesis.txt", "link"):
        with pytest.raises(ValueError, match="output: expected nothing or a model in parts at"):
            publish_joined.check_replaceable(tmp_path / name)


def test_a_decoder_for_a_whole_model_is_refused(decoder):
    with pytest.raises(ValueError, match="decoder: expected none for 'small-llava', which is whol"):
        load("small-llava", decoder=decoder)
