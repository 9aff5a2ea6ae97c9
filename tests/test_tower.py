"""The tower's training: true labels, its own artists, and an interruption that leaves no trace."""

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, SmolVLMForConditionalGeneration

from decoders import copy_without
from lost_in_attention.pictures import ARTISTS, IMAGE_SIZE, groups, load_drawings
from lost_in_attention.pictures.drawings import Drawings
from lost_in_attention.training import tower
from lost_in_attention.training.tower import (
    PHASES,
    Tower,
    TowerConfig,
    accuracies,
    train_tower,
    vlm_config,
    word_vectors,
)
from lost_in_attention.training.tower_scenes import (
    NOTHING,
    UNCLEAR,
    crowded_scene,
    plain_scene,
    token_labels,
)

NOUNS = tuple(groups())
SHORT = TowerConfig(steps=2, near_steps=2, batch=2)


@pytest.fixture
def few_checks(monkeypatch):
    monkeypatch.setattr(tower, "_CHECKED", 2)
    monkeypatch.setattr(tower, "_NAMED_SCENES", 2)


def crowded(split, nouns, rng):
    return crowded_scene(split, nouns, 1.0, rng)


def test_a_token_is_named_by_what_covers_a_quarter_of_it():
    owners = np.full((IMAGE_SIZE, IMAGE_SIZE), NOTHING)
    owners[:16, :16] = 5
    owners[:8, 16:24] = 6
    owners[:4, 32:40] = 7
    owners[:16, 48:58] = 8
    owners[:16, 58:64] = 9
    labels = token_labels(owners).reshape(8, 8)
    assert labels[0, :4].tolist() == [5, 6, UNCLEAR, 8]
    assert (labels[1:] == NOTHING).all() and (labels[0, 4:] == NOTHING).all()


@pytest.mark.parametrize("make", [crowded, plain_scene])
def test_scenes_are_of_their_splits_artists_and_depend_on_the_seed_alone(make, monkeypatch):
    used, real = set(), Drawings.draw

    def noted(self, noun, rng):
        drawing = real(self, noun, rng)
        used.add(drawing.artist)
        return drawing

    monkeypatch.setattr(Drawings, "draw", noted)
    for seed in range(6):
        one, other = (make("train", NOUNS, np.random.default_rng(seed)) for _ in range(2))
        np.testing.assert_array_equal(one.pixels, other.pixels)
        np.testing.assert_array_equal(one.labels, other.labels)
        assert one.pixels.shape == (IMAGE_SIZE, IMAGE_SIZE, 3) and one.labels.shape == (64,)
        assert (one.labels >= 0).any() and one.labels.max() < len(NOUNS)
    assert used <= set(ARTISTS["train"])
    assert not used & {*ARTISTS["heldout"], *ARTISTS["validation"]}


def test_plain_scenes_name_nouns_that_the_split_has():
    names = {NOUNS[i] for i in plain_scene("validation", NOUNS, np.random.default_rng(1)).labels
             if i >= 0}  # fmt: skip
    assert names <= set(load_drawings("validation").nouns)


def test_word_vectors_are_the_decoders_embeddings(decoder):
    embeddings = load_file(f"{decoder}/model.safetensors")["model.embed_tokens.weight"]
    cow, light = word_vectors(decoder, ("cow", "traffic light"))
    assert any(torch.equal(cow, row) for row in embeddings)
    assert not any(torch.equal(light, row) for row in embeddings)


def test_word_vectors_are_read_from_weights_in_several_files(decoder, tmp_path):
    AutoTokenizer.from_pretrained(decoder).save_pretrained(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(decoder)
    model.save_pretrained(tmp_path, max_shard_size="50KB")
    assert not (tmp_path / "model.safetensors").exists()
    parted = word_vectors(str(tmp_path), ("cow", "traffic light"))
    assert torch.equal(parted, word_vectors(decoder, ("cow", "traffic light")))


def test_tower_and_connector_go_by_the_names_of_the_whole_model(decoder):
    config = vlm_config(decoder)
    own = Tower(config, word_vectors(decoder, NOUNS)).state_dict()
    whole = SmolVLMForConditionalGeneration(config).model.state_dict()
    seeing = {name: each for name, each in own.items() if name.startswith(("vision", "connector"))}
    assert {n: w.shape for n, w in seeing.items()} == {
        n: w.shape for n, w in whole.items() if not n.startswith("text_model")
    }


def test_accuracies_part_drawings_and_ground():
    scores = torch.eye(4)[[0, 1, 3, 3, 0]]
    assert accuracies(scores, torch.tensor([0, 1, 2, 3, 3])) == {
        "objects": pytest.approx(2 / 3), "ground": 0.5,
    }  # fmt: skip


@pytest.mark.parametrize("broken_at", [1, 3], ids=PHASES)
def test_an_interruption_leaves_no_trace(decoder, tmp_path, monkeypatch, few_checks, broken_at):
    monkeypatch.setattr(tower, "_SAVE_EVERY", 1)
    whole = train_tower(SHORT, runs=tmp_path / "whole", decoder=decoder)
    real = tower._loss

    def breaks(model, config, step, nearness):
        if step == broken_at:
            raise KeyboardInterrupt
        return real(model, config, step, nearness)

    monkeypatch.setattr(tower, "_loss", breaks)
    with pytest.raises(KeyboardInterrupt):
        train_tower(SHORT, runs=tmp_path / "broken", decoder=decoder)
    monkeypatch.setattr(tower, "_loss", real)
    resumed = train_tower(SHORT, runs=tmp_path / "broken", decoder=decoder)
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name]), name


def test_a_folder_of_another_run_is_refused(decoder, tmp_path, few_checks):
    train_tower(TowerConfig(steps=1, near_steps=1, batch=1), runs=tmp_path, decoder=decoder)
    with pytest.raises(ValueError, match="runs: .* holds a run with another configuration"):
        train_tower(TowerConfig(steps=2, near_steps=1, batch=1), runs=tmp_path, decoder=decoder)
    other = tmp_path / "other"
    shutil.copytree(decoder, other)
    weights = load_file(other / "model.safetensors")
    weights["model.embed_tokens.weight"] *= 2
    save_file(weights, other / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match="runs: .* holds a run with another configuration"):
        train_tower(TowerConfig(steps=1, near_steps=1, batch=1), runs=tmp_path, decoder=str(other))


def test_a_decoder_without_its_words_is_refused_and_leaves_no_run(decoder, tmp_path):
    broken = tmp_path / "broken"
    copy_without(decoder, broken, "model.embed_tokens.weight")
    with pytest.raises(ValueError, match="name: expected 'broken' .* got . missing .*embed_tokens"):
        train_tower(SHORT, runs=tmp_path / "runs", decoder=str(broken))
    assert not (tmp_path / "runs").exists()


def test_a_decoder_out_of_reach_leaves_no_run(tmp_path):
    with pytest.raises(OSError, match="original: expected weights that can be reached"):
        train_tower(SHORT, runs=tmp_path, decoder=f"{tmp_path}/none")
    assert not any(tmp_path.iterdir())


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps: expected at least 1, got 0"),
        ({"batch": 1.5}, "batch: expected a whole number, got 1.5"),
        ({"seed": -1}, "seed: expected at least 0, got -1"),
        ({"seed": 2**63}, "seed: expected at most 9223372036854775807, got 9223372036854775808"),
        ({"rates": (1e-2, float("nan"))}, "rates: expected a positive, finite number, got nan"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        TowerConfig(**settings)
