"""Loading and preparing: names, weights, processors, context, memory, checkpoints."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import AutoConfig, LlamaConfig, LlavaNextConfig

from lost_in_attention.benchmarks import load_benchmark
from lost_in_attention.evaluation.decoding import Decoding, replies_to
from lost_in_attention.models import (
    ModelName,
    checks,
    each_model,
    fitting_batch,
    load,
    load_processor,
    longest_prompt,
    memory,
    usable_device,
)
from lost_in_attention.models.load import resolve
from lost_in_attention.models.memory import cache_bytes, weight_bytes
from lost_in_attention.models.registry import registered
from lost_in_attention.models.settings import settings_of
from lost_in_attention.models.shipped import chosen_models, saved_steps, saved_weights
from lost_in_attention.runs.paths import data_folder
from lost_in_attention.runs.provenance import weights_digest
from lost_in_attention.training.tokenizer import word_token
from standins import (
    change_json,
    change_weights,
    copied,
    move_template_to_tokenizer,
    name_image_processor,
    original_names,
    without,
)

FOLDER = data_folder() / "models" / "small-qwen2.5-vl"
FAMILIES = ("small-llava", "small-llava-next", "small-llava-onevision", "small-qwen2.5-vl")
each_family = pytest.mark.parametrize("name", FAMILIES)


@pytest.fixture(scope="module")
def vlm():
    return load("small-qwen2.5-vl")


@pytest.fixture
def folder(tmp_path):
    """A small model that may be spoilt."""
    return copied("small-llava", tmp_path)


def with_value(name, value):
    """Sets one number of a weight."""

    def change(weights):
        weights[name].view(-1)[5] = value
        return weights

    return change


# --- names


def test_names_are_single_tokens(vlm):
    tokenizer = vlm.processor.tokenizer
    assert tokenizer.decode(word_token(tokenizer, "seven")) == " seven"
    with pytest.raises(ValueError, match="word: expected 'hippopotamus' to be one token"):
        word_token(tokenizer, "hippopotamus")


def test_unknown_names_are_refused():
    with pytest.raises(FileNotFoundError, match="small-qwen2.5-vl.*got 'small-qwen'"):
        load("small-qwen")
    for nowhere in ("./nowhere", "/no/where", "~/nowhere", "one/two/three", Path("nowhere")):
        with pytest.raises(FileNotFoundError, match=f"a folder that exists, got '{nowhere}'"):
            load(nowhere)


def test_a_hub_id_and_a_folder_need_no_data_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LOST_IN_ATTENTION_DATA", str(tmp_path / "none"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    assert resolve("Qwen/Qwen2.5-VL-7B-Instruct") == "Qwen/Qwen2.5-VL-7B-Instruct"
    assert {resolve(name) for name in ("mine", "./mine", Path("mine"))} == {"mine"}
    assert resolve(str(tmp_path / "mine")) == str(tmp_path / "mine")
    with pytest.raises(FileNotFoundError, match="data folder: expected"):
        resolve("small-llava")


def test_a_folder_that_is_called_like_a_hub_id_does_not_win_silently(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = "Qwen/Qwen2.5-VL-7B-Instruct"
    Path(name).mkdir(parents=True)
    both = f"one meaning, got '{name}', a folder here .*'./{name}'.* and a model on the hub"
    with pytest.raises(ValueError, match=both):
        resolve(name)
    assert resolve(f"./{name}") == name
    assert resolve(str(tmp_path / name)) == str(tmp_path / name)
    Path("small-llava").mkdir()
    with pytest.raises(ValueError, match="one meaning, got 'small-llava', .* a model of the zoo"):
        resolve("small-llava")


def test_the_zoo_can_be_loaded_from_its_own_folder(monkeypatch):
    monkeypatch.chdir(FOLDER.parent)
    assert resolve(FOLDER.name) == str(FOLDER)


def test_no_path_of_this_machine_is_in_a_models_name(folder):
    vlm = load(folder)
    assert (vlm.name, vlm.revision) == ("small-llava", None)
    chosen = chosen_models(f"small-qwen2.5-vl, {folder}")
    assert chosen == ["small-qwen2.5-vl", "small-llava"]
    assert resolve(chosen[1]) == str(folder)
    with pytest.raises(ValueError, match="models: expected .*different names"):
        chosen_models(f"small-llava,{folder}")


def test_one_model_by_two_names_is_no_choice(monkeypatch):
    monkeypatch.chdir(FOLDER.parent)
    for other in (f"./{FOLDER.name}", f"{FOLDER}/", f"../models/{FOLDER.name}"):
        with pytest.raises(ValueError, match="models: expected .* different models, parted by"):
            chosen_models(f"{other},{FOLDER.name}")


def test_an_empty_data_folder_has_no_models_to_choose(monkeypatch, tmp_path):
    monkeypatch.setenv("LOST_IN_ATTENTION_DATA", str(tmp_path))
    for every in ("zoo", "families", "pretrained"):
        with pytest.raises(FileNotFoundError, match=f"models: expected models in .*'{every}', got"):
            chosen_models(every)


def test_a_hub_model_is_known_by_its_commit(tmp_path):
    """Read from a cache like the hub's own client makes, without a network."""
    commit = "0123456789abcdef" * 2 + "01234567"
    repository = tmp_path / "hub" / "models--someone--model"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    copied("small-llava", repository / "snapshots").rename(repository / "snapshots" / commit)
    code = (
        "from lost_in_attention.models import load; vlm = load('someone/model'); "
        "print(vlm.name, vlm.revision)"
    )
    offline = os.environ | {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    offline["LOST_IN_ATTENTION_DATA"] = str(tmp_path / "none")
    run = subprocess.run([sys.executable, "-c", code], env=offline, capture_output=True, text=True)
    assert run.stdout.split() == ["someone/model", commit], run.stderr


def test_a_registered_model_is_loaded_at_its_registered_commit(tmp_path):
    """Not at the newest one, unless that is asked for."""
    model, newest = registered("LLaVA-1.5-7B"), "0123456789" * 4
    repository = tmp_path / "hub" / f"models--{model.hub.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(newest)
    snapshots = repository / "snapshots"
    for commit in (model.revision, newest):
        copied("small-llava", snapshots).rename(snapshots / commit)
    code = (
        "from lost_in_attention.models import load; "
        f"print(*(load('{model.hub}', revision=at).revision for at in (None, 'main', '{newest}')))"
    )
    offline = os.environ | {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    run = subprocess.run([sys.executable, "-c", code], env=offline, capture_output=True, text=True)
    assert run.stdout.split() == [model.revision, newest, newest], run.stderr
    code = f"from lost_in_attention.models import load; load('{model.hub}', revision='{'f' * 40}')"
    run = subprocess.run([sys.executable, "-c", code], env=offline, capture_output=True, text=True)
    assert f"a configuration at commit {'f' * 40} that can be read, got" in run.stderr


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: load("01-ai/Yi-VL-6B"), "name: expected a supported model, .* layer norms"),
        (lambda: load("small-llava", revision="main"), "revision: expected none for a folder, got"),
        (lambda: load("small-llava", attention="flash"), "attention: expected one of .*'eager'"),
    ],
)
def test_what_cannot_be_loaded_so_is_refused_before_anything_is_read(call, message, monkeypatch):
    monkeypatch.setattr(AutoConfig, "from_pretrained", None)
    with pytest.raises(ValueError, match=message):
        call()


def test_a_name_of_the_registry_is_answered_with_its_hub_id():
    with pytest.raises(FileNotFoundError, match="hub id 'Qwen/Qwen2.5-VL-7B-Instruct', got 'Qwen-"):
        load("Qwen-2.5-VL-7B")


def test_the_commit_and_the_attention_stand_in_a_runs_settings():
    samples = list(load_benchmark("pope").draw(2, seed=0))
    usual, eager = load("small-llava"), load("small-llava", attention="eager")
    inputs = usual.prepare([sample.images for sample in samples], [s.prompt for s in samples])
    with torch.inference_mode():
        here, there = (vlm.model(**inputs).logits for vlm in (usual, eager))
    assert not torch.equal(here, there)
    torch.testing.assert_close(here, there, atol=1e-3, rtol=0)
    told = settings_of(replace(eager, revision="0" * 40), samples, 2)
    assert (told["attention"], told["revision"]) == ("eager", "0" * 40)
    assert "revision" not in settings_of(usual, samples, 2)


# --- weights


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without(r"layers\.3\.mlp"), r"got 7 missing \(model.language_model.layers.3.mlp.down"),
        (without("vision_tower"), r"got 87 missing \(model.vision_tower.embeddings.class_emb"),
        (without(r"embed_tokens"), r"got 2 missing \(lm_head.weight, model.language_model.embed"),
        (lambda w: w | {"v_head.bias": torch.zeros(1)}, r"got 1 unknown \(v_head.bias\)$"),
        (
            lambda w: {k: v[:3].clone() if "layers.2.mlp.up" in k else v for k, v in w.items()},
            r"1 of another shape \(model.language_model.layers.2.mlp.up_proj.weight\)",
        ),
        (original_names, "166 missing .*165 unknown .*original release: take a copy .* llava-hf"),
    ],
    ids=["a layer's MLP", "the tower", "embedding", "left over", "shape", "original names"],
)
def test_weights_that_are_not_the_models_are_refused(folder, change, message):
    change_weights(folder, change)
    with pytest.raises(ValueError, match="^name: expected 'small-llava' to hold .*" + message):
        load(folder)


def test_tied_weights_and_tables_from_the_configuration_may_be_there(folder):
    def change(weights):
        tied = weights["language_model.model.embed_tokens.weight"].clone()
        return weights | {
            "language_model.lm_head.weight": tied,
            "language_model.model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(16),
            "vision_tower.vision_model.embeddings.position_ids": torch.arange(65),
            "visual.rotary_pos_emb.inv_freq": torch.ones(8),
        }

    change_weights(folder, change)
    assert weights_digest(load(folder).model) == weights_digest(load("small-llava").model)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", ["embed_tokens", "layers.7.mlp.down_proj"])
def test_weights_that_are_not_finite_are_refused(folder, name, value):
    change_weights(folder, with_value(f"language_model.model.{name}.weight", value))
    with pytest.raises(ValueError, match=f"weights of 'small-llava' to be finite, .* in .*{name}"):
        load(folder)


def test_saved_steps_that_are_not_finite_are_refused(vlm, tmp_path):
    saved = list(saved_steps("small-qwen2.5-vl").values())[-1]
    (tmp_path / "model.safetensors").write_bytes(saved.read_bytes())
    name = "model.language_model.layers.7.mlp.down_proj.weight"
    change_weights(tmp_path, with_value(name, float("nan")))
    with (
        pytest.raises(ValueError, match=f"to be finite, got NaN or an infinity in {name}"),
        saved_weights(load("small-qwen2.5-vl"), tmp_path / "model.safetensors"),
    ):
        pass


def test_logits_that_are_not_finite_are_refused():
    vlm = load("small-llava")
    with torch.no_grad():
        # The weights are finite, what comes of them is not.
        vlm.decoder.norm.weight.fill_(3e38)
    with pytest.raises(ValueError, match="expected finite logits from 'small-llava'"):
        checks.check(vlm)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "config.json").write_text("{"), "a configuration that can be read, got: "),
        (lambda f: (f / "config.json").unlink(), "a configuration that can be read, got: "),
        (lambda f: change_json(f, "config.json", model_type="new"), "configuration .*`new`"),
        (lambda f: change_json(f, "config.json", model_type="bert"), "got one of type 'bert'"),
        (lambda f: (f / "model.safetensors").write_bytes(b"\0" * 99), "weights that can be read"),
        (lambda f: (f / "model.safetensors").unlink(), "weights that can be read"),
        (lambda f: (f / "tokenizer.json").write_text("{}"), "a processor that can be read"),
        (lambda f: (f / "processor_config.json").write_text("{"), "a processor that can be read"),
    ],
)
def test_folders_that_cannot_be_read_are_refused_in_one_line(folder, spoil, message):
    spoil(folder)
    with pytest.raises(ValueError, match=f"^name: expected 'small-llava' .*{message}") as refusal:
        load(folder)
    assert "\n" not in str(refusal.value)


def test_a_model_of_no_known_family_is_refused(folder):
    change_json(folder, "config.json", model_type="vipllava")
    with pytest.raises(ValueError, match="^name: expected a model of type .*, got 'vipllava'"):
        load(folder)


def test_checkpoints_run_from_start_to_end():
    folder = data_folder() / "models" / "checkpoints" / "small-qwen2.5-vl"
    steps = [int(path.stem.split("-")[1]) for path in sorted(folder.glob("*.safetensors"))]
    assert steps[0] == 0 and 9 <= len(steps) <= 14
    facts = json.loads((FOLDER / "training.json").read_text())
    config = facts["config"]
    phases = ("alignment_steps", "decoder_steps", "words_steps", "joint_steps")
    assert steps[-1] == sum(config[phase] for phase in phases)


# --- processors


@each_family
def test_a_chat_template_may_stand_with_the_tokenizer_alone(name, tmp_path):
    folder = copied(name, tmp_path)
    move_template_to_tokenizer(folder)
    assert_prepares_alike(load_processor(folder), load_processor(FOLDER.parent / name))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("small-qwen2.5-vl", "Qwen2_5_VLImageProcessor"),
        ("small-qwen2.5-vl", "Qwen2_5_VLImageProcessorFast"),
        ("small-qwen2.5-vl", "Qwen2VLImageProcessorFast"),
        ("small-llava", "CLIPImageProcessor"),
        ("small-llava", "LlavaImageProcessorFast"),
        ("small-llava-next", "LlavaNextImageProcessorFast"),
        ("small-llava-onevision", "LlavaOnevisionImageProcessorFast"),
    ],
)
def test_other_names_of_an_image_processor_give_the_familys_own(name, kind, tmp_path):
    folder = copied(name, tmp_path)
    name_image_processor(folder, kind)
    assert_prepares_alike(load_processor(folder), load_processor(FOLDER.parent / name))


def assert_prepares_alike(one, other):
    image = Image.linear_gradient("L").resize((120, 90)).convert("RGB")
    chat = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What?"}]}]
    made = [
        each(text=[each.apply_chat_template(chat)], images=[image], return_tensors="pt")
        for each in (one, other)
    ]
    assert made[0].keys() == made[1].keys()
    assert all(torch.equal(made[0][key], made[1][key]) for key in made[0])
    assert one.tokenizer.padding_side == "left"


def test_a_folder_without_chat_template_is_refused(folder):
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(ValueError, match="source: expected .* to hold a chat template"):
        load_processor(folder)


def test_a_folder_without_processor_is_refused(tmp_path, vlm):
    vlm.model.config.save_pretrained(tmp_path)
    vlm.processor.tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="name: expected .* to have a processor that can be read"):
        load_processor(tmp_path)


# --- inputs and context


def test_prepare_wants_as_many_images_as_questions(vlm):
    image = Image.new("RGB", (96, 96))
    with pytest.raises(ValueError, match="as many images as prompts.* got 1 and 2"):
        vlm.prepare([image], ["a", "b"])
    with pytest.raises(ValueError, match="got 0 and 0"):
        vlm.prepare([], [])


def test_a_prompt_beyond_the_context_is_refused_and_quoted(vlm):
    image, long = Image.new("RGB", (96, 96)), " cat" * 1200 + " What is the third word?"
    expected = "prompts: expected at most 1024 tokens, the context of 'small-qwen2.5-vl', got "
    with pytest.raises(ValueError, match=re.escape(expected) + r"\d+ .*the third word\?"):
        vlm.prepare([image] * 3, ["a", long, "b"])


def test_the_reply_counts_towards_the_context(vlm):
    image = Image.new("RGB", (96, 96))
    inputs = vlm.prepare([image, image], ["Yes?", "Is there a seven?"])
    room = vlm.context - inputs["input_ids"].shape[1]
    vlm.check_context(inputs, room)
    with pytest.raises(ValueError, match=rf"got 1025 .*seven\?.* {room + 1} of them for the reply"):
        replies_to(vlm, inputs, Decoding("long", room + 1, greedy=True), seed=0)


def test_a_shorter_limit_of_the_tokenizer_counts(folder):
    change_json(folder, "tokenizer_config.json", model_max_length=200)
    assert load(folder).context == 200


# --- memory and devices


@pytest.mark.usefixtures("unchecked")
def test_devices_that_are_not_there_are_refused():
    assert usable_device("cpu") == torch.device("cpu")
    for device in ("gpu", "cuda:77", "mps", "", None):
        message = f"device: expected one that this machine has, such as 'cpu', got '{device}'"
        with pytest.raises(ValueError, match=message):
            load("small-llava", device=device)


@each_family
def test_the_size_of_the_weights_is_known_before_they_are_read(name):
    vlm = load(name)
    own = sum(weight.nbytes for weight in vlm.model.parameters())
    assert weight_bytes(vlm.model.config, torch.float32) == own
    assert weight_bytes(vlm.model.config, torch.bfloat16) == own / 2


def test_weights_that_do_not_fit_are_refused_before_they_are_read(monkeypatch, folder):
    (folder / "model.safetensors").unlink()
    monkeypatch.setattr(memory, "free_bytes", lambda device: 2**20)
    message = "to fit into memory, its weights take 0.00898 GiB in float32, got 0.000977 GiB free"
    with pytest.raises(ValueError, match=message):
        load(folder)


def test_the_cache_of_vicuna():
    """32 layers with 32 heads of 128 in half precision: half a MiB a token, 58 GiB for a batch."""
    config = LlavaNextConfig(text_config=LlamaConfig())
    assert cache_bytes(config, torch.bfloat16) == 2**19
    assert round(50 * (2312 + 64) * cache_bytes(config, torch.bfloat16) / 2**30) == 58


@each_family
def test_the_cache_of_a_token_is_what_generation_keeps(name):
    vlm = load(name)
    inputs = vlm.prepare([Image.new("RGB", (96, 96))], ["Is there a seven?"])
    with torch.inference_mode():
        kept = vlm.model(**inputs, use_cache=True).past_key_values
    own = sum(layer.keys.nbytes + layer.values.nbytes for layer in kept.layers)
    tokens = inputs["input_ids"].shape[1]
    assert own == tokens * cache_bytes(vlm.model.config, vlm.model.dtype)


def test_a_batch_takes_at_most_half_of_the_free_memory(vlm, monkeypatch):
    token = cache_bytes(vlm.model.config, vlm.model.dtype)
    for free, expected in ((10**12, 50), (2 * 7 * 164 * token, 7), (2 * 164 * token, 1)):
        monkeypatch.setattr(memory, "free_bytes", lambda device, free=free: free)
        assert fitting_batch(vlm, 100, 64) == expected
    monkeypatch.setattr(memory, "free_bytes", lambda device: 2 * 164 * token - 1)
    with pytest.raises(ValueError, match="for one prompt of 100 tokens and a reply of 64"):
        fitting_batch(vlm, 100, 64)


def test_the_longest_prompt_is_found_wherever_it_stands(vlm):
    samples = list(load_benchmark("mmmu").draw(6, seed=0))
    lengths = [int(vlm.prepare([s.images], [s.prompt])["attention_mask"].sum()) for s in samples]
    assert longest_prompt(vlm, samples) == max(lengths)


def test_only_one_model_is_in_memory():
    held = []
    for name, vlm in each_model(["small-llava", "small-qwen2.5-vl"]):
        assert vlm.name == name
        assert vlm.device.type == "cpu"
        assert all(before.device.type == "meta" for before in held)
        held.append(vlm)
    assert [vlm.device.type for vlm in held] == ["meta", "meta"]


def test_a_name_on_a_page_is_loaded_by_its_source(folder):
    name = ModelName(str(folder))
    assert name == "small-llava" and load(name).name == "small-llava"
