"""Loading and preparing: names, processors, checkpoints."""

import json

import pytest
from PIL import Image

from lost_in_attention.models import load, load_processor
from lost_in_attention.paths import data_folder
from lost_in_attention.training.tokenizer import word_token

FOLDER = data_folder() / "models" / "small-qwen2.5-vl"


@pytest.fixture(scope="module")
def vlm():
    return load("small-qwen2.5-vl")


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
    phases = ("alignment_steps", "decoder_steps", "words_steps", "joint_steps")
    assert steps[-1] == sum(config[phase] for phase in phases)


def test_prepare_wants_as_many_images_as_questions(vlm):
    image = Image.new("RGB", (96, 96))
    with pytest.raises(ValueError, match="as many images as prompts.* got 1 and 2"):
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
