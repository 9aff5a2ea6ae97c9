"""The pretrained subject: its card, what it sees, and that its decoder stays a decoder."""

import json

import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM

from lost_in_attention.benchmarks import BENCHMARKS, load_benchmark
from lost_in_attention.evaluation.perplexity import surprise
from lost_in_attention.evaluation.questions import evaluate
from lost_in_attention.models import VisionLanguageModel, joined, load
from lost_in_attention.models.text_decoder import load_text_decoder
from lost_in_attention.runs.paths import data_folder
from lost_in_attention.runs.provenance import weights_digest
from lost_in_attention.texts import passages

NAME = "smollm2-pictures"
FOLDER = data_folder() / "models" / NAME


@pytest.fixture(scope="module")
def vlm(published_decoder) -> VisionLanguageModel:
    return load(NAME)


@pytest.fixture(scope="module")
def facts() -> dict:
    return json.loads((FOLDER / "training.json").read_text())


@pytest.fixture(scope="module")
def overall(facts) -> pd.DataFrame:
    """One row a benchmark: accuracy with images, with blank ones, and of chance."""
    table = pd.DataFrame(facts["accuracy"]).query("group == 'all'")
    accuracy = table.pivot(index="benchmark", columns="condition", values="accuracy")
    return accuracy.join(table.groupby("benchmark")["chance"].first())


def test_what_is_shipped_are_parts_of_at_most_24_megabytes():
    weights = [FOLDER / joined.TOWER, FOLDER / joined.ADAPTERS]
    assert sum(path.stat().st_size for path in weights) <= 24e6
    assert not [p for p in FOLDER.rglob("*") if p.suffix in (".bin", ".pt", ".pkl", ".py")]


def test_it_sees_what_it_is_asked_about_on_a_held_out_artists_drawings(overall):
    assert set(overall.index) == set(BENCHMARKS)
    assert overall.loc["pope", "images"] >= 0.75
    assert abs(overall.loc["pope", "blank images"] - 0.5) <= 0.06
    gained = overall["images"] - overall["blank images"]
    assert gained.loc[["pope", "mmmu", "realworldqa"]].min() >= 0.2
    assert gained.mean() >= 0.1


def test_its_card_is_of_these_weights(vlm, facts):
    assert weights_digest(vlm.model) == facts["weights"]


def test_language_survives(facts):
    assert facts["perplexity"]["ratio"] <= 1.1


def test_the_stored_perplexity_comes_out_again(vlm, published_decoder, facts):
    texts = passages()[:8]
    plain = load_text_decoder()
    change = surprise(vlm, texts)["surprise"] - surprise(plain, texts)["surprise"]
    assert abs(change.mean() - torch.tensor(facts["perplexity"]["ratio"]).log().item()) < 0.05


def test_a_stored_accuracy_comes_out_again(vlm, overall):
    stored = overall.loc["pope", "images"]
    samples = load_benchmark("pope", "pictures").draw(60, seed=11)
    now = evaluate(vlm, samples, benchmark="pope")["correct"].mean()
    assert abs(now - stored) < 4 * (stored * (1 - stored) / 60) ** 0.5


def test_its_decoder_is_the_published_one_plus_adapters(vlm, published_decoder):
    """Taken off again, the adapters leave the published decoder's logits on text."""
    told = json.loads((FOLDER / joined.PARTS).read_text())
    adapters = joined.read_weights(FOLDER / joined.ADAPTERS)
    plain = AutoModelForCausalLM.from_pretrained(published_decoder, dtype=torch.float32).eval()
    ids = vlm.processor.tokenizer("The cow jumps over the", return_tensors="pt")["input_ids"]
    published = plain.state_dict()
    for name, weight in vlm.decoder.state_dict().items():
        change = weight - published[f"model.{name}"]
        down, up = (adapters.get(name.removesuffix(".weight") + end) for end in joined.PAIR)
        expected = 0 if down is None else told["scaling"] * up.float() @ down.float()
        torch.testing.assert_close(change, torch.zeros_like(change) + expected)
    with torch.inference_mode():
        assert not torch.equal(vlm.model(input_ids=ids).logits, plain(ids).logits)
