"""The registry of published models: what it says, and that the paper's files say the same."""

import re

import pandas as pd
import pytest
import torch
from transformers import (
    Idefics3Config,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaNextConfig,
    LlavaOnevisionConfig,
    PreTrainedConfig,
    Qwen2_5_VLConfig,
)

from lost_in_attention.models import listing, load, memory
from lost_in_attention.models.families import KEYS, family_named
from lost_in_attention.models.listing import as_table, fitting_format, in_full, known_models
from lost_in_attention.models.load import resolve
from lost_in_attention.models.memory import weight_bytes
from lost_in_attention.models.registry import _table, folder_name, registered, registry
from lost_in_attention.models.shipped import chosen_models
from lost_in_attention.runs.paths import data_folder

CPU = torch.device("cpu")
PAPER = [model for model in registry() if model.in_paper]
TABLES = ("table2_sap", "tables4_5_heads", "tables6_7_layers", "table8_variants")


def test_fifteen_variants_and_two_small_models():
    assert len(PAPER) == 15 and len(registry()) == 17
    for what in ("name", "hub"):
        assert len({getattr(model, what) for model in registry()}) == 17
    assert {model.family for model in registry()} <= set(KEYS)


@pytest.mark.parametrize("model", registry(), ids=lambda model: model.name)
def test_what_is_known_has_its_form_and_what_is_unknown_is_empty(model):
    assert re.fullmatch(r"[\w.-]+/[\w.-]+", model.hub)
    assert re.fullmatch(r"([0-9a-f]{40})?", model.revision)
    assert re.fullmatch(r"[a-z0-9.-]*", model.licence)
    assert model.category in ("general", "vision-query", "reasoning")
    assert registered(model.name) is registered(model.hub) is model


def test_capitals_do_not_tell_hub_ids_apart():
    model = registered("Qwen-2.5-VL-7B")
    assert registered("qwen/qwen2.5-vl-7b-instruct") is registered(model.hub.upper()) is model
    assert resolve(model.hub.lower()) == model.hub
    assert chosen_models(f"{model.hub.lower()},someone/MODEL") == [model.hub, "someone/MODEL"]
    assert folder_name(model.hub.upper()) == model.hub.replace("/", "--")
    assert folder_name("./m/own") == folder_name("m/own") == "m--own"
    assert resolve("someone/MODEL") == folder_name("someone/MODEL").replace("--", "/")
    with pytest.raises(ValueError, match="expected a supported model, got '01-ai/Yi-VL-6B'"):
        resolve("01-AI/yi-vl-6b")


def test_what_is_not_registered_is_none():
    assert registered("") is registered("small-llava") is registered("someone/model") is None


def test_the_categories_are_those_of_appendix_c2():
    by = {
        category: {model.name for model in PAPER if model.category == category}
        for category in ("vision-query", "reasoning")
    }
    assert by["vision-query"] == {"CoF-rl", "CoF-sft", "Reverse"}
    assert by["reasoning"] == {"MM-Eureka-7B", "MM-Eureka-32B", "Orsta-7B", "Ocean-R1-7B"}
    # What has a protocol of its own says what is not followed of it.
    assert all("Not followed" in model.notes for model in PAPER if model.category == "vision-query")


def test_yi_vl_is_not_supported_and_says_why():
    [other] = [model for model in registry() if not model.supported]
    assert other.name == "Yi-VL-6B" and "layer norms" in other.reason


@pytest.mark.parametrize("table", TABLES)
def test_every_model_of_the_papers_tables_is_one_that_is_registered(table):
    names = pd.read_csv(data_folder() / "paper" / f"{table}.csv")["model"].unique()
    for name in names:
        assert len([model for model in PAPER if name in model.names]) == 1, name


def test_layers_and_bands_are_those_that_the_paper_prints():
    printed = {model.name: model.sap_layers for model in PAPER if model.sap_layers}
    assert printed["LLaVA-1.5-7B"] == (18, 23)
    assert printed["LLaVA-OneVision-7B"] == (21, 27)
    assert {printed[model.name] for model in PAPER if model.family == "qwen2.5-vl"} == {(1, 27)}
    silent = {model.name for model in PAPER} - set(printed)
    assert silent == {"Yi-VL-6B", "Mistral-1.6-7B", "Vicuna-1.6-7B"}
    for name in ("LLaVA-1.5-7B", "LLaVA-OneVision-7B"):
        assert printed[name] in registered(name).layer_ranges
    assert len(registered("Orsta-7B").bands) == 5 and not registered("Qwen-2.5-VL-3B").bands


@pytest.mark.parametrize("model", PAPER, ids=lambda model: model.name)
def test_a_family_replaces_attention_where_the_paper_prints_it_for_its_models(model):
    own = family_named(model.family).published
    assert model.sap_layers in (None, own.layers)
    assert not model.bands or own.heads in model.bands
    assert not model.layer_ranges or set(model.layer_ranges) == set(own.ranges)


def text(hidden: int, inner: int, layers: int, heads: int, keys: int, **more) -> dict:
    return {
        "hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers,
        "num_attention_heads": heads, "num_key_value_heads": keys,
    } | more  # fmt: skip


def qwen(decoder: dict, inner: int, tied: bool) -> PreTrainedConfig:
    vision = {
        "depth": 32, "hidden_size": 1280, "intermediate_size": inner, "num_heads": 16,
        "out_hidden_size": decoder["hidden_size"],
    }  # fmt: skip
    decoder = decoder | {"tie_word_embeddings": tied}
    return Qwen2_5_VLConfig(text_config=decoder, vision_config=vision, tie_word_embeddings=tied)


CLIP = text(1024, 4096, 24, 16, 16) | {
    "model_type": "clip_vision_model", "image_size": 336, "patch_size": 14,
}  # fmt: skip
VICUNA = text(4096, 11008, 32, 32, 32, vocab_size=32064, model_type="llama")
MISTRAL = text(4096, 14336, 32, 32, 8, vocab_size=32064, model_type="mistral")
QWEN2 = text(3584, 18944, 28, 28, 4, vocab_size=152128, model_type="qwen2")
SIGLIP = text(1152, 4304, 26, 16, 16) | {
    "model_type": "siglip_vision_model", "image_size": 384, "patch_size": 14,
    "vision_use_head": False,
}  # fmt: skip


def smol(decoder: dict) -> PreTrainedConfig:
    vision = text(768, 3072, 12, 12, 12) | {"image_size": 512, "patch_size": 16}
    decoder = decoder | {"model_type": "llama", "vocab_size": 49280, "head_dim": 64}
    return Idefics3Config(text_config=decoder, vision_config=vision, scale_factor=4)


CONFIGS = {
    "Qwen-2.5-VL-3B": qwen(text(2048, 11008, 36, 16, 2, vocab_size=151936), 3420, tied=True),
    "Qwen-2.5-VL-7B": qwen(text(3584, 18944, 28, 28, 4, vocab_size=152064), 3420, tied=False),
    "Qwen-2.5-VL-32B": qwen(text(5120, 27648, 64, 40, 8, vocab_size=152064), 3456, tied=False),
    "LLaVA-1.5-7B": LlavaConfig(text_config=VICUNA, vision_config=CLIP),
    "LLaVA-OneVision-7B": LlavaOnevisionConfig(text_config=QWEN2, vision_config=SIGLIP),
    "Mistral-1.6-7B": LlavaNextConfig(text_config=MISTRAL, vision_config=CLIP),
    "Vicuna-1.6-7B": LlavaNextConfig(text_config=VICUNA, vision_config=CLIP),
    "SmolVLM-256M": smol(text(576, 1536, 30, 9, 3)),
    "SmolVLM-500M": smol(text(960, 2560, 32, 15, 5)),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_sizes_are_those_of_the_published_configuration(name):
    model, config = registered(name), CONFIGS[name]
    decoder = config.get_text_config()
    assert (model.layers, model.hidden_size) == (decoder.num_hidden_layers, decoder.hidden_size)
    counted = weight_bytes(config, torch.bfloat16)
    assert model.weight_bytes(torch.bfloat16) == pytest.approx(counted, rel=3e-3)


def test_what_was_trained_from_another_model_has_its_size():
    for model in registry():
        if model.base:
            base = registered(model.base)
            assert (model.layers, model.hidden_size) == (base.layers, base.hidden_size)
            assert (model.family, model.parameters) == (base.family, base.parameters)
    assert set(CONFIGS) == {model.name for model in registry() if not model.base} - {"Yi-VL-6B"}


# --- what the command `models` lists


@pytest.fixture
def free(monkeypatch):
    """Sets how many bytes are free, everywhere."""

    def set_to(count: float) -> None:
        monkeypatch.setattr(memory, "free_bytes", lambda device: count)
        monkeypatch.setattr(listing, "free_bytes", lambda device: count)

    return set_to


def test_every_model_has_its_line_and_the_table_fits_the_terminal(free):
    free(20e9)
    known = known_models()
    wide, narrow = as_table(known, CPU, 200), as_table(known, CPU, 80)
    assert len(wide) == len(known) + 1 and max(map(len, narrow)) <= 80
    for model in known:
        [line] = [line for line in wide if line.split()[0] == model.name]
        assert line.endswith(model.hub or model.licence)
        assert f"  {model.hub}" in narrow or not model.hub
    assert {"small-llava", "smollm2", "Orsta-7B", "SmolVLM-256M"} <= {m.name for m in known}


@pytest.mark.parametrize(
    ("gigabytes", "fits"), [(7, None), (8, "bf16"), (15.1, "fp32")], ids=["no", "bf16", "fp32"]
)
def test_the_format_that_fits_is_the_most_exact_one(free, gigabytes, fits):
    free(gigabytes * 1e9)
    model = registered("Qwen-2.5-VL-3B")
    assert fitting_format(model, CPU) == fits
    assert f" {fits or 'no'} " in as_table([model], CPU, 200)[1]
    said = "\n".join(in_full(model, CPU, 80))
    assert ("its weights do not fit" in said) == (fits is None)


def test_what_is_not_supported_fits_nowhere_and_says_why(free):
    free(1e15)
    model = registered("Yi-VL-6B")
    assert fitting_format(model, CPU) is None
    said = " ".join(" ".join(in_full(model, CPU, 80)).split())
    assert "here: no" in said and f"not supported: {model.reason}" in said
    assert "the paper" not in said


def test_one_model_in_full(free):
    free(1e9)
    said = " ".join(" ".join(in_full(registered("CoF-sft"), CPU, 80)).split())
    assert "revision: unknown" in said and "licence: unknown" in said
    assert "as Qwen-2.5-VL-7B, which it was trained from" in said
    assert "the paper replaces attention in layers: [1, 27]" in said
    assert "bands of heads: [0.0, 0.3]" in said and "Not followed: its own protocol" in said


def test_ids_and_commits_stay_whole_in_a_narrow_terminal():
    model = registered("CoF-rl")
    said = "\n".join(in_full(model, CPU, 20))
    assert model.hub in said and model.revision in said


def test_a_data_folder_without_the_papers_tables_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("LOST_IN_ATTENTION_DATA", str(tmp_path))
    _table.cache_clear()
    with pytest.raises(FileNotFoundError, match="data folder: expected one that holds .*table2"):
        _ = registered("CoF-rl").sap_layers


def test_models_of_the_repository_say_their_licence_and_size():
    [model] = [each for each in known_models() if each.name == "small-llava"]
    weights = load("small-llava").model.parameters()
    assert round(model.parameters * 1e9) == sum(weight.numel() for weight in weights)
    assert (model.licence, model.layers, model.hidden_size) == ("mit", 8, 128)


def test_the_decoder_by_itself_is_said_to_be_what_it_is():
    [model] = [each for each in known_models() if each.name == "smollm2"]
    shape = text(576, 1536, 30, 9, 3, vocab_size=49152)
    with torch.device("meta"):
        decoder = LlamaForCausalLM(LlamaConfig(**shape, tie_word_embeddings=True))
    counted = sum(weight.numel() for weight in decoder.parameters())
    assert model.parameters == pytest.approx(counted / 1e9, rel=1e-3)
    assert (model.layers, model.hidden_size) == (30, 576)
