"""The shipped model: an ordinary folder that loads, fits its limits and reaches its accuracy."""

import json

import pytest
import torch
from PIL import Image
from transformers import Qwen2_5_VLForConditionalGeneration

from lost_in_attention.benchmarks import load_benchmark
from lost_in_attention.evaluate import evaluate
from lost_in_attention.models import load, load_processor
from lost_in_attention.paths import data_folder
from lost_in_attention.training.tokenizer import word_token

FOLDER = data_folder() / "models" / "small-qwen2.5-vl"


@pytest.fixture(scope="module")
def vlm():
    return load("small-qwen2.5-vl")


@pytest.fixture(scope="module")
def samples():
    return load_benchmark("pope").draw(300, seed=11)


def test_a_stock_class_within_its_limits(vlm):
    assert type(vlm.model) is Qwen2_5_VLForConditionalGeneration
    assert sum(p.numel() for p in vlm.model.parameters()) <= 10_000_000
    assert len(vlm.layers) >= 8
    size = sum(path.stat().st_size for path in FOLDER.iterdir())
    assert size <= 16 * 2**20
    assert not [p for p in FOLDER.rglob("*") if p.suffix in (".bin", ".pt", ".pkl", ".py")]


def test_visual_tokens_are_an_8_by_8_grid(vlm, samples):
    inputs = vlm.prepare([samples[0].image], [samples[0].prompt])
    assert int(vlm.visual_mask(inputs).sum()) == 64
    assert [len(f) for f in vlm.encode_images([samples[0].image])] == [64]


def test_it_answers_held_out_questions_and_not_blank_images(vlm, samples):
    seen = evaluate(vlm, samples, benchmark="pope")
    blank = evaluate(vlm, samples.blanked(), benchmark="pope")
    assert seen["correct"].mean() >= 0.85
    assert abs(blank["correct"].mean() - 0.5) <= 0.1
    assert seen["parsed"].notna().all()


def test_the_card_and_its_facts_agree():
    facts = json.loads((FOLDER / "training.json").read_text())
    card = (FOLDER / "README.md").read_text()
    for row in facts["accuracy"]:
        assert f"{row['accuracy']:.4g}" in card
    assert facts["command"] in card
    seen = next(r for r in facts["accuracy"] if r["condition"] == "images" and r["group"] == "all")
    assert seen["accuracy"] >= 0.85
    assert facts["config"]["seed"] == 0 and facts["versions"]["torch"]


def test_attention_matters(vlm, samples):
    """Changing what attention reads changes the logits, so the capture is not a dead branch."""
    inputs = vlm.prepare([samples[0].image], [samples[0].prompt])
    with torch.inference_mode():
        before = vlm.model(**inputs).logits[0, -1].clone()
        hook = vlm.layers[4].self_attn.register_forward_hook(
            lambda module, args, output: (output[0] * 0, *output[1:])
        )
        after = vlm.model(**inputs).logits[0, -1]
        hook.remove()
    assert not torch.allclose(before, after)


def test_a_batch_answers_as_its_members_do(vlm, samples):
    few = samples[:6]
    together = evaluate(vlm, few, benchmark="pope", batch_size=6)
    alone = evaluate(vlm, few, benchmark="pope", batch_size=1)
    assert together["reply"].tolist() == alone["reply"].tolist()


def test_names_are_single_tokens(vlm):
    tokenizer = vlm.processor.tokenizer
    assert tokenizer.decode(word_token(tokenizer, "seven")) == " seven"
    with pytest.raises(ValueError, match="word: expected 'hippopotamus' to be one token"):
        word_token(tokenizer, "hippopotamus")


def test_checkpoints_run_from_start_to_end():
    folder = data_folder() / "models" / "checkpoints" / "small-qwen2.5-vl"
    steps = [int(path.stem.split("-")[1]) for path in sorted(folder.glob("*.safetensors"))]
    assert steps[0] == 0 and 9 <= len(steps) <= 14
    facts = json.loads((FOLDER / "training.json").read_text())
    config = facts["config"]
    phases = ("alignment_steps", "decoder_steps", "joint_steps")
    assert steps[-1] == sum(config[phase] for phase in phases)


def test_prepare_wants_as_many_images_as_questions(vlm):
    image = Image.new("RGB", (96, 96))
    with pytest.raises(ValueError, match="as many images as questions.* got 1 and 2"):
        vlm.prepare([image], ["a", "b"])
    with pytest.raises(ValueError, match="got 0 and 0"):
        vlm.prepare([], [])


def test_unknown_names_are_refused():
    with pytest.raises(FileNotFoundError, match="small-qwen2.5-vl.*got 'small-qwen'"):
        load("small-qwen")
    with pytest.raises(FileNotFoundError, match="got './nowhere'"):
        load("./nowhere")


def test_a_folder_without_processor_is_refused(tmp_path, vlm):
    vlm.model.config.save_pretrained(tmp_path)
    vlm.processor.tokenizer.save_pretrained(tmp_path)
    with pytest.raises((TypeError, OSError)):
        load_processor(tmp_path)
