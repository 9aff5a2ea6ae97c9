"""Tower and decoder joined: the decoder stays, adapters learn, the prompt is the processor's."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from lost_in_attention.benchmarks import BENCHMARKS
from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.pictures import load_drawings
from lost_in_attention.pictures.facts import area, nouns_of, unique_pictures
from lost_in_attention.pictures.layouts import LAYOUTS
from lost_in_attention.pictures.pope import existence_question
from lost_in_attention.pictures.scenes import IMAGE_SIZE
from lost_in_attention.training import joining, tower
from lost_in_attention.training.joining import (
    JoiningConfig,
    add_adapters,
    assemble,
    conversation_logits,
    encode,
    train_adapters,
)
from lost_in_attention.training.own_texts import START, drift, own_texts, without_adapters
from lost_in_attention.training.picture_tasks import TASKS, conversation, placing, pope
from lost_in_attention.training.place_words import read_places, say_places, token_places
from lost_in_attention.training.tasks import Turn
from lost_in_attention.training.tower import TowerConfig, train_tower
from lost_in_attention.worlds.facts import quadrant

SHORT = JoiningConfig(
    steps=3, practice=1, placing=1, review=1, looking=1, batch=2, questions=2, rank=2, warmup=1
)
CONNECTOR = "model.connector.modality_projection.proj.weight"


@pytest.fixture(autouse=True)
def few_place_images(monkeypatch):
    monkeypatch.setattr(joining, "_PLACE_IMAGES", 2)


@pytest.fixture(scope="module")
def trained(decoder, tmp_path_factory) -> Path:
    """The state of a tower, hardly trained."""
    runs = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tower, "_CHECKED", 2)
        patch.setattr(tower, "_NAMED_SCENES", 2)
        train_tower(TowerConfig(steps=1, near_steps=1, batch=1), runs=runs, decoder=decoder)
    return runs / "tower" / tower.STATE


@pytest.fixture
def vlm(decoder, trained) -> VisionLanguageModel:
    return assemble(decoder, trained)


@pytest.fixture(scope="module")
def scenes():
    drawings = load_drawings("train")
    return [
        draw(drawings, np.random.default_rng(seed)).painted()
        for draw in LAYOUTS.values()
        for seed in range(6)
    ]


def test_on_text_the_joined_model_is_the_decoder(vlm, decoder):
    plain = AutoModelForCausalLM.from_pretrained(decoder, dtype=torch.float32).eval()
    ids = AutoTokenizer.from_pretrained(decoder)("a cow and a dog", return_tensors="pt")
    with torch.inference_mode():
        expected = plain(**ids).logits
        torch.testing.assert_close(vlm.model(**ids).logits, expected, rtol=0, atol=0)
        add_adapters(vlm, 2)
        torch.testing.assert_close(vlm.model(**ids).logits, expected, rtol=1e-6, atol=1e-6)


def test_the_vocabulary_stays(vlm, decoder):
    assert len(vlm.processor.tokenizer) == len(AutoTokenizer.from_pretrained(decoder))


def test_a_prompt_in_training_is_the_processors(vlm, scenes):
    turns = [Turn("Is there a cow in the image?", "Yes"), Turn("Where?", "top left")]
    ids, learned = encode(vlm, turns)
    prepared = vlm.prepare([scenes[0].image], [turns[0].question])["input_ids"][0]
    assert torch.equal(ids[: len(prepared)], prepared)
    assert (ids == vlm.model.config.image_token_id).sum() == 64
    assert vlm.processor.tokenizer.decode(ids[learned]) == "Yes<|im_end|>top left<|im_end|>"


def test_answers_are_read_from_their_own_image(vlm, scenes):
    turns = [[Turn("What?", "cow")], [Turn("What is it?", "a dog")]]
    both, wanted = conversation_logits(vlm, scenes[:2], turns)
    alone = [
        conversation_logits(vlm, [scene], [each])[0]
        for scene, each in zip(scenes, turns, strict=False)
    ]
    torch.testing.assert_close(both, torch.cat(alone), rtol=0.05, atol=0.05)
    assert len(wanted) == len(both)


# In the first phase, and in the last one, before which the connector has changed.
@pytest.mark.parametrize("broken", [2, 5])
def test_adapters_alone_are_trained_and_an_interruption_leaves_no_trace(
    decoder, trained, tmp_path, monkeypatch, broken
):
    monkeypatch.setattr(joining, "_SAVE_EVERY", 1)
    whole = train_adapters(SHORT, tower=trained, runs=tmp_path / "whole", decoder=decoder)
    real = joining._loss

    def breaks(vlm, config, texts, first, step):
        if first + step == broken:
            raise KeyboardInterrupt
        return real(vlm, config, texts, first, step)

    monkeypatch.setattr(joining, "_loss", breaks)
    with pytest.raises(KeyboardInterrupt):
        train_adapters(SHORT, tower=trained, runs=tmp_path / "broken", decoder=decoder)
    monkeypatch.setattr(joining, "_loss", real)
    resumed = train_adapters(SHORT, tower=trained, runs=tmp_path / "broken", decoder=decoder)
    weights = resumed.model.state_dict()
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, weights[name]), name
    before = assemble(decoder, trained).model.state_dict()
    kept = {
        name.replace(".base_layer", ""): w for name, w in weights.items() if "lora_" not in name
    }
    assert kept.keys() == before.keys()
    other = [name for name, weight in kept.items() if not torch.equal(weight, before[name])]
    assert other == [CONNECTOR]
    assert any(w.abs().sum() > 0 for name, w in weights.items() if "lora_B" in name)


def test_its_own_texts_are_drawn_by_seed_and_begin_a_document(vlm):
    texts = own_texts(vlm, 3, 8, seed=1)
    assert texts.shape == (3, 8)
    assert vlm.processor.tokenizer.decode(texts[:, :1].flatten()) == 3 * START
    assert vlm.model.generation_config.eos_token_id not in texts
    assert torch.equal(texts, own_texts(vlm, 3, 8, seed=1))
    assert not torch.equal(texts, own_texts(vlm, 3, 8, seed=2))


def test_adapters_drift_from_nothing_and_are_back_after_a_comparison(vlm):
    texts = own_texts(vlm, 2, 8, seed=0)
    parameters = add_adapters(vlm, 2)
    assert drift(vlm, texts).item() == pytest.approx(0, abs=1e-7)
    with torch.no_grad():
        for parameter in parameters:
            parameter.normal_()
    moved = drift(vlm, texts)
    moved.backward()
    assert moved > 1e-4
    assert all(parameter.requires_grad for parameter in parameters)
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in parameters)
    with torch.inference_mode(), without_adapters(vlm.decoder):
        before = vlm.model(input_ids=texts).logits
    assert not torch.equal(before, vlm.model(input_ids=texts).logits)


def test_another_file_than_a_towers_is_refused(decoder):
    with pytest.raises(ValueError, match="tower: expected the weights of a tower"):
        assemble(decoder, Path(decoder) / "model.safetensors")


def junk(file: Path) -> None:
    file.write_bytes(b"junk")


def half(file: Path) -> None:
    weights = load_file(file)
    save_file({name: w for name, w in weights.items() if "vision_model" not in name}, file)


def reshaped(file: Path) -> None:
    weights = load_file(file)
    save_file(weights | {CONNECTOR: weights[CONNECTOR].T.contiguous()}, file)


def without_numbers(file: Path) -> None:
    weights = load_file(file)
    save_file(weights | {CONNECTOR: weights[CONNECTOR] * float("nan")}, file)


@pytest.mark.parametrize("spoil", [junk, half, reshaped, without_numbers, Path.unlink])
def test_a_spoilt_tower_is_refused_and_leaves_no_run(decoder, trained, tmp_path, spoil):
    file = tmp_path / "tower.safetensors"
    shutil.copy(trained, file)
    spoil(file)
    with pytest.raises(ValueError, match="tower: expected the weights of a tower, got ") as refused:
        train_adapters(SHORT, tower=file, runs=tmp_path / "runs", decoder=decoder)
    assert "\n" not in str(refused.value) and not (tmp_path / "runs").exists()


def changed(weights: Path, name: str) -> None:
    tensors = load_file(weights)
    save_file(tensors | {name: tensors[name] + 1}, weights, {"format": "pt"})


def test_a_run_does_not_go_on_with_another_tower_or_decoder(decoder, trained, tmp_path):
    short, runs = replace(SHORT, steps=1), tmp_path / "runs"
    train_adapters(short, tower=trained, runs=runs, decoder=decoder)
    tower_file, other = tmp_path / "tower.safetensors", tmp_path / "other"
    shutil.copy(trained, tower_file)
    changed(tower_file, CONNECTOR)
    shutil.copytree(decoder, other)
    changed(other / "model.safetensors", "model.norm.weight")
    for parts in ((tower_file, decoder), (trained, str(other))):
        with pytest.raises(ValueError, match="holds a run with another configuration"):
            train_adapters(short, tower=parts[0], runs=runs, decoder=parts[1])
    train_adapters(short, tower=trained, runs=runs, decoder=decoder)


def test_drawings_are_not_read_on_import(tmp_path):
    names = "lost_in_attention.pictures, lost_in_attention.training.joining"
    nowhere = os.environ | {"LOST_IN_ATTENTION_DATA": str(tmp_path / "none")}
    command = [sys.executable, "-c", f"import {names}"]
    run = subprocess.run(command, env=nowhere, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_every_benchmark_is_asked_and_answers_are_words(scenes):
    asked = set()
    for index, scene in enumerate(scenes):
        rng = np.random.default_rng(index)
        turns = conversation(scene, 6, rng)
        assert len({turn.question for turn in turns}) == 6
        assert all(turn.answer not in "ABCD" for turn in turns)
        asked |= {task.__name__ for task in TASKS if task(scene, rng)}
    assert len(asked) == len(BENCHMARKS) == len(TASKS)


def test_existence_is_answered_truly(scenes):
    for index, scene in enumerate(scenes):
        question, answer, _ = pope(scene, np.random.default_rng(index))
        there = question.split("\n")[0] in map(existence_question, nouns_of(scene))
        assert answer == ("Yes" if there else "No")


# What a question of `relation` asks of the two boxes that it names, the first answer's truth.
RELATIONS = {
    "left": lambda one, other: one.centre[0] < other.centre[0],
    "above": lambda one, other: one.centre[1] < other.centre[1],
    "larger": lambda one, other: area(one) > area(other),
}


def test_places_and_sizes_are_answered_truly(scenes):
    kinds = set()
    for index, scene in enumerate(scenes):
        things = {thing.noun: thing for thing in unique_pictures(scene)}
        for question, answer, _ in placing(scene, 12, np.random.default_rng(index)):
            named = re.findall(rf"the ({'|'.join(things)})\b", question)
            if question.startswith("Where"):
                kinds.add("where")
                assert answer == quadrant(things[named[0]], IMAGE_SIZE)
            elif not question.startswith("Is there"):
                [kind] = [kind for kind in RELATIONS if kind in question]
                kinds.add(kind)
                first = named[0] if kind == "larger" else kind
                assert (answer == first) == RELATIONS[kind](*(things[noun] for noun in named))
    assert kinds == {"where", *RELATIONS}


def test_a_scene_without_places_is_asked_what_is_there(scenes):
    nothing = replace(scenes[0], pictures=scenes[0].pictures[:1] * 2)
    assert not unique_pictures(nothing)
    for question, answer, _ in placing(nothing, 6, np.random.default_rng(0)):
        assert (question in map(existence_question, nouns_of(nothing))) == (answer == "Yes")


def test_what_is_asked_follows_the_phases():
    asked = {step: joining._talk(SHORT, step).__name__ for step in range(6)}
    assert list(asked.values()) == ["looking", *["conversation"] * 3, "placing", "conversation"]


def test_places_are_read_where_features_hold_them():
    places, generator = token_places(), torch.Generator().manual_seed(0)
    hidden = torch.cat([places, torch.ones(64, 1), torch.randn(64, 5, generator=generator)], 1)
    features = hidden @ torch.randn(8, 8, generator=generator)
    read = features @ read_places(features, places)
    assert (read - places).abs().max() < 0.1
    assert places[0].tolist() == [-1, -1] and places[7].tolist() == [1, -1]


def test_visual_tokens_say_where_they_lie_in_the_decoders_words(vlm, scenes):
    images = [scene.image for scene in scenes[:3]]
    words, tokenizer = vlm.model.get_input_embeddings().weight.detach(), vlm.processor.tokenizer

    def word(text: str) -> torch.Tensor:
        return words[tokenizer(f" {text}", add_special_tokens=False)["input_ids"]].mean(0)

    with torch.no_grad():
        before = torch.cat(vlm.encode_images(images))
        say_places(vlm, images)
        added = torch.cat(vlm.encode_images(images)) - before
    read = before @ read_places(before, token_places().repeat(3, 1))
    across, down = word("right") - word("left"), word("bottom") - word("top")
    torch.testing.assert_close(
        added, read[:, :1] * across + read[:, 1:] * down, rtol=1e-3, atol=1e-4
    )


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": 0}, "rank: expected at least 1, got 0"),
        ({"steps": 1.5}, "steps: expected a whole number, got 1.5"),
        ({"seed": -1}, "seed: expected at least 0, got -1"),
        ({"random_decoder": -1}, "random_decoder: expected at least 0, got -1"),
        (
            {"random_decoder": 2**64},
            "random_decoder: expected at most .*, got 1844674407370955161",
        ),
        ({"placing": 0}, "placing: expected at least 1, got 0"),
        ({"rate": float("inf")}, "rate: expected a positive, finite number, got inf"),
        ({"rate": 0.0}, "rate: expected a positive, finite number, got 0.0"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        JoiningConfig(**settings)
