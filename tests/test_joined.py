"""A model in parts: what is loaded is decoder plus adapters, and other parts are refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from decoders import save_small_decoder
from lost_in_attention.models import VisionLanguageModel, joined, load
from lost_in_attention.pictures.drawings import load_drawings
from lost_in_attention.pictures.layouts import LAYOUTS
from lost_in_attention.training import tower
from lost_in_attention.training.joining import JoiningConfig, publish, train_adapters
from lost_in_attention.training.tower import TowerConfig, train_tower

SHORT = {"steps": 3, "batch": 2, "questions": 2, "rank": 2, "warmup": 1}


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
        train_tower(TowerConfig(steps=1, batch=1), runs=runs, decoder=decoder)
    return runs / "tower" / "tower.safetensors"


@pytest.fixture(scope="module", params=[None, 7], ids=["published", "random"])
def trained(request, decoder, tower_file, tmp_path_factory) -> tuple[VisionLanguageModel, Path]:
    """A model as it was trained, and its folder."""
    config = JoiningConfig(random_decoder=request.param, **SHORT)
    runs = tmp_path_factory.mktemp("runs")
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
    return vlm, publish(vlm, config, runs)


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


@pytest.mark.parametrize(
    ("file", "name", "message"),
    [
        (joined.TOWER, "model.connector.strange", "tower.safetensors: expected the weights of"),
        (joined.ADAPTERS, "layers.99.mlp.up_proj.lora_A.default.weight", "adapters.safetensors: e"),
    ],
)
def test_other_parts_are_refused(trained, decoder, monkeypatch, tmp_path, file, name, message):
    copied = tmp_path / "parts"
    shutil.copytree(trained[1], copied)
    save_file(load_file(copied / file) | {name: torch.zeros(1)}, copied / file)
    monkeypatch.setattr(joined, "smollm2", lambda original: decoder)
    with pytest.raises(ValueError, match=message):
        load(copied)
