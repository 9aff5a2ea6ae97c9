"""A model in parts: what is loaded is decoder plus adapters, and other parts are refused."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from decoders import save_small_decoder
from lost_in_attention.models import VisionLanguageModel, joined, load
from lost_in_attention.models.shipped import PRETRAINED, loaded_subject, subject_of
from lost_in_attention.pictures.drawings import load_drawings
from lost_in_attention.pictures.layouts import LAYOUTS
from lost_in_attention.training import joining, tower
from lost_in_attention.training.joining import SCALING, JoiningConfig, train_adapters
from lost_in_attention.training.tower import TowerConfig, train_tower

SHORT = {
    "steps": 2, "practice": 1, "placing": 1, "review": 1,
    "batch": 2, "questions": 2, "rank": 2, "warmup": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def decoder(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("decoder")
    save_small_decoder(folder)
    return str(folder)


@pytest.fixture(scope="module")
def tower_file(decoder, tmp_path_factory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tower, "_CHECKED", 2)
        patch.setattr(tower, "_NAMED_SCENES", 2)
        train_tower(TowerConfig(steps=1, near_steps=1, batch=1), runs=runs, decoder=decoder)
    return runs / "tower" / tower.STATE


@pytest.fixture(scope="module", params=[None, 7], ids=["published", "random"])
def trained(request, decoder, tower_file, tmp_path_factory) -> tuple[VisionLanguageModel, Path]:
    """A model as it was trained, and its folder."""
    config = JoiningConfig(random_decoder=request.param, **SHORT)
    runs = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(joining, "_PLACE_IMAGES", 2)
        vlm = train_adapters(config, tower=tower_file, runs=runs, decoder=decoder)
    with torch.no_grad():
        for name, weight in vlm.decoder.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1)
            if "lora_" in name:
                weight.copy_(weight.bfloat16())
        for weight in vlm.model.model.vision_model.parameters():
            weight.copy_(weight.bfloat16())
        for weight in vlm.model.model.connector.parameters():
            weight.copy_(weight.bfloat16())
    folder = runs / config.name
    joined.save_in_parts(vlm, folder, scaling=SCALING)
    return vlm, folder


@pytest.fixture
def loaded(trained, decoder, monkeypatch) -> VisionLanguageModel:
    monkeypatch.setattr(joined, "smollm2", lambda original: decoder)
    return load(trained[1])


def test_it_answers_as_it_did_in_training(trained, loaded):
    vlm, _ = trained
    rng = np.random.default_rng(0)
    scene = next(iter(LAYOUTS.values()))(load_drawings("train"), rng).painted()
    for images, prompt in ((scene.image, "Is there a cow?"), ((), "a cow and a dog")):
        inputs = vlm.prepare([images], [prompt])
        with torch.inference_mode():
            expected, got = vlm.model(**inputs).logits, loaded.model(**inputs).logits
        torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)


def test_its_subject_is_its_decoders_and_a_random_one_is_a_control(
    trained, decoder, monkeypatch, tmp_path
):
    vlm, folder = trained
    shutil.copytree(folder, tmp_path / "models" / "joined")
    monkeypatch.setenv("LOST_IN_ATTENTION_DATA", str(tmp_path))
    monkeypatch.setattr(joined, "smollm2", lambda original: decoder)
    expected = PRETRAINED if vlm.origin.seed is None else None
    assert loaded_subject(load("joined")) == subject_of("joined") == expected
    assert loaded_subject(load(folder)) is None


def test_the_parts_are_small_and_the_decoder_is_not_among_them(trained):
    _, folder = trained
    weights = {path.name: load_file(path) for path in folder.glob("*.safetensors")}
    assert weights.keys() == {joined.TOWER, joined.ADAPTERS}
    assert all(w.dtype == torch.bfloat16 for each in weights.values() for w in each.values())
    assert all("lora_" in name for name in weights[joined.ADAPTERS])


def test_without_adapters_the_text_is_the_plain_decoders(trained, decoder, monkeypatch, tmp_path):
    vlm, folder = trained
    if json.loads((folder / joined.PARTS).read_text())["seed"] is not None:
        pytest.skip("its decoder has random weights")
    copied = tmp_path / "parts"
    shutil.copytree(folder, copied)
    adapters = load_file(copied / joined.ADAPTERS)
    nothing = {name: torch.zeros_like(weight) for name, weight in adapters.items()}
    save_file(nothing, copied / joined.ADAPTERS)
    monkeypatch.setattr(joined, "smollm2", lambda original: decoder)
    plain = AutoModelForCausalLM.from_pretrained(decoder, dtype=torch.float32).eval()
    ids = vlm.processor.tokenizer("a cow and a dog", return_tensors="pt")
    with torch.inference_mode():
        assert torch.equal(load(copied).model(**ids).logits, plain(**ids).logits)


def spoil_parts(folder: Path, **told) -> None:
    """Give parts.json other values; "away" takes a key away."""
    file = folder / joined.PARTS
    whole = json.loads(file.read_text()) | told
    file.write_text(json.dumps({key: value for key, value in whole.items() if value != "away"}))


def spoil_weights(file: Path, change) -> None:
    save_file(change(load_file(file)), file)


def with_strange(weights):
    return weights | {"model.connector.strange": torch.zeros(1)}


def half(weights):
    """Both adapters of some layers are gone."""
    return {name: weight for name, weight in weights.items() if "mlp" not in name}


def without_ups(weights):
    return {name: weight for name, weight in weights.items() if "lora_A" in name}


def turned(weights):
    return {name: weight.T.contiguous() if weight.ndim == 2 else weight[:1] for name, weight in
            weights.items()}  # fmt: skip


def with_nan(weights):
    return {name: weight * float("nan") for name, weight in weights.items()}


def as_integers(weights):
    return {name: weight.to(torch.int32) for name, weight in weights.items()}


SPOILT = {
    "parts.json that cannot be read": lambda f: (f / joined.PARTS).write_text("{"),
    "parts.json with 3 in the place": lambda f: (f / joined.PARTS).write_text("3"),
    "parts.json with .* in the place of": lambda f: spoil_parts(f, scaling="away"),
    "parts.json with {'seed': '7'}": lambda f: spoil_parts(f, seed="7"),
    "parts.json with {'seed': True}": lambda f: spoil_parts(f, seed=True),
    "parts.json with {'scaling': nan}": lambda f: spoil_parts(f, scaling=float("nan")),
    "adapters.safetensors for 7 layers in the place of 8": lambda f: spoil_parts(f, adapted=8),
    "model.safetensors beside parts.json": lambda f: (f / "model.safetensors").touch(),
    "tower.safetensors that cannot": lambda f: (f / joined.TOWER).unlink(),
    "adapters.safetensors that cannot": lambda f: (f / joined.ADAPTERS).write_bytes(b"junk"),
    "other .* than those of tower": lambda f: spoil_weights(f / joined.TOWER, with_strange),
    "other .* of tower and connector": lambda f: spoil_weights(f / joined.TOWER, turned),
    "adapters.* other than pairs": lambda f: spoil_weights(f / joined.ADAPTERS, with_strange),
    "adapters.* than pairs": lambda f: spoil_weights(f / joined.ADAPTERS, without_ups),
    "adapters.* for 4 layers": lambda f: spoil_weights(f / joined.ADAPTERS, half),
    "tower.* than finite decimal": lambda f: spoil_weights(f / joined.TOWER, as_integers),
    "adapters.* than finite decimal": lambda f: spoil_weights(f / joined.ADAPTERS, with_nan),
    "adapters.* of another shape": lambda f: spoil_weights(f / joined.ADAPTERS, turned),
}


@pytest.mark.parametrize("message", SPOILT)
def test_other_parts_are_refused(trained, decoder, monkeypatch, tmp_path, message):
    copied = tmp_path / "parts"
    shutil.copytree(trained[1], copied)
    SPOILT[message](copied)
    monkeypatch.setattr(joined, "smollm2", lambda original: decoder)
    with pytest.raises(
        ValueError, match=rf"name: expected 'parts' to be a model in parts \(.*\), got {message}"
    ) as refused:
        load(copied)
    assert "\n" not in str(refused.value)


def test_another_decoder_than_in_training_is_refused(trained, decoder, monkeypatch, tmp_path):
    if trained[0].origin.seed is not None:
        pytest.skip("its decoder has random weights")
    other = tmp_path / "other"
    shutil.copytree(decoder, other)
    weights = load_file(other / "model.safetensors")
    weights["model.norm.weight"] += 1
    save_file(weights, other / "model.safetensors", {"format": "pt"})
    monkeypatch.setattr(joined, "smollm2", lambda original: str(other))
    expected = trained[0].origin.weights
    with pytest.raises(ValueError, match=f"decoder: expected .*, {expected}, got .* 'other'"):
        load(trained[1])
    del weights["model.norm.weight"]
    save_file(weights, other / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"got 1 missing \(model.norm.weight\)"):
        load(trained[1])


def test_only_the_packages_decoder_is_called_by_its_source(trained, tmp_path):
    vlm, folder = trained
    told = json.loads((folder / joined.PARTS).read_text())
    assert (told["decoder"], told["sha256"], told["adapted"]) == (None, None, 7)
    packaged = replace(vlm, origin=replace(vlm.origin, packaged=True))
    joined.save_in_parts(packaged, tmp_path / "parts", scaling=2)
    told = json.loads((tmp_path / "parts" / joined.PARTS).read_text())
    assert (told["decoder"], told["sha256"]) == (joined.HUB, joined.SHA256)
    assert [path.name for path in tmp_path.iterdir()] == ["parts"]
