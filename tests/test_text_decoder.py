"""A decoder by itself: what it reads, what it refuses, and that it is measured as any other."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, CLIPConfig

from decoders import copy_without, save_small_decoder
from lost_in_attention.models.shipped import PRETRAINED, loaded_subject
from lost_in_attention.models.text_decoder import load_text_decoder
from lost_in_attention.residual.measure import measure
from lost_in_attention.texts import passages


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("decoder")
    save_small_decoder(folder)
    return str(folder)


@pytest.fixture(scope="module")
def decoder(folder):
    return load_text_decoder(folder)


@pytest.fixture(scope="module")
def texts():
    return passages(words=20)[:3]


def test_its_logits_are_the_published_models(decoder, folder, texts):
    inputs = decoder.prepare([()] * 3, [s.prompt for s in texts])
    together = decoder.model(**inputs).logits
    model, tokenizer = (
        kind.from_pretrained(folder) for kind in (AutoModelForCausalLM, AutoTokenizer)
    )
    for row, mask, sample in zip(together, inputs["attention_mask"].bool(), texts, strict=True):
        alone = model(**tokenizer(sample.prompt, return_tensors="pt")).logits[0]
        torch.testing.assert_close(row[mask], alone, atol=1e-5, rtol=1e-4)


def test_it_is_measured_as_any_other(decoder, texts):
    table = measure(decoder, texts)
    assert len(table) == 2 * len(decoder.layers) * len(texts)
    assert (table["tokens"] > 10).all() and (table["rid"] >= 0).all()
    assert measure(decoder, texts, tokens="text").equals(table)
    with pytest.raises(ValueError, match=f"tokens: expected some 'visual' in {texts[0].id}"):
        measure(decoder, texts, tokens="visual")


def test_a_run_goes_on(decoder, texts, tmp_path):
    whole = measure(decoder, texts, batch_size=1, output=tmp_path / "rows")
    assert measure(decoder, texts, batch_size=1, output=tmp_path / "rows", resume=True).equals(
        whole
    )
    other = load_text_decoder(decoder.model.name_or_path, random_seed=0)
    with pytest.raises(ValueError, match="output: expected a run with the same settings"):
        measure(other, texts, batch_size=1, output=tmp_path / "rows", resume=True)


def test_random_weights_are_their_seeds_and_leave_the_callers_chance_alone(folder):
    before = torch.get_rng_state()
    one, same, other = (load_text_decoder(folder, random_seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    weights = [vlm.layers[0].mlp.up_proj.weight for vlm in (one, same, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    assert one.name == f"{Path(folder).name} with random weights"


def test_its_name_is_the_packages_only_for_the_packages_weights(folder, tmp_path, monkeypatch):
    assert load_text_decoder(folder).name == Path(folder).name
    monkeypatch.setenv("LOST_IN_ATTENTION_CACHE", str(tmp_path))
    shutil.copytree(folder, tmp_path / "smollm2")
    (tmp_path / "smollm2" / "source.json").touch()
    assert load_text_decoder().name == "smollm2"
    loaded = (load_text_decoder(), load_text_decoder(random_seed=0), load_text_decoder(folder))
    assert [loaded_subject(vlm) for vlm in loaded] == [PRETRAINED, None, None]


def test_missing_weights_and_other_models_are_refused(folder, tmp_path):
    broken = tmp_path / "broken"
    copy_without(folder, broken, "model.layers.0.mlp.up_proj.weight")
    with pytest.raises(ValueError, match="name: expected 'broken' .* got 1 missing .*up_proj"):
        load_text_decoder(str(broken))
    weights = load_file(Path(folder) / "model.safetensors")
    weights["model.layers.0.mlp.up_proj.weight"][0, 0] = float("inf")
    save_file(weights, broken / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match="weights of 'broken' to be finite.* in .*up_proj.weight"):
        load_text_decoder(str(broken))
    (broken / "model.safetensors").write_bytes(b"junk")
    with pytest.raises(ValueError, match="name: expected 'broken' to have weights that can be"):
        load_text_decoder(str(broken))
    CLIPConfig().save_pretrained(broken)
    for seed in (None, 0):
        with pytest.raises(ValueError, match="'broken' to be a causal .* got one of type 'clip'"):
            load_text_decoder(str(broken), random_seed=seed)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("seed", "message"), [(-1, "at least 0, got -1"), (1.5, "a whole number, got 1.5")]
)
def test_seeds_are_whole_numbers(folder, seed, message):
    with pytest.raises(ValueError, match=f"random_seed: expected {message}"):
        load_text_decoder(folder, random_seed=seed)


def test_bad_input_is_refused(decoder, folder, texts):
    seeing = replace(texts[0], images=(Image.new("RGB", (8, 8)),))
    with pytest.raises(ValueError, match=f"images: expected none for {decoder.name}, which reads"):
        measure(decoder, [seeing])
    with pytest.raises(ValueError, match=f"images: expected none for {decoder.name}, which reads"):
        decoder.prepare(seeing.images, ["a"])
    with pytest.raises(ValueError, match="expected as many images as prompts, got 1 and 2"):
        decoder.prepare([()], ["a", "b"])
    with pytest.raises(ValueError, match="prompts: expected texts, got an empty one"):
        decoder.prepare([(), ()], ["a", ""])
    with pytest.raises(ValueError, match="prompts: expected at least one, got none"):
        decoder.prepare([], [])
    with pytest.raises(ValueError, match="prompts: expected at most"):
        decoder.prepare([()], ["word " * 4000])
    with pytest.raises(ValueError, match="device: expected"):
        load_text_decoder(folder, device="cuda:9")
