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
from lost_in_attention.training.publish_joined import card

NAME = "smollm2-pictures"
FOLDER = data_folder() / "models" / NAME
CONTROL = data_folder() / "controls" / f"{NAME}-random-decoder"


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


@pytest.fixture(scope="module")
def control() -> dict:
    return json.loads((CONTROL / "training.json").read_text())


def test_the_control_differs_in_its_decoder_alone(facts, control):
    assert control["config"] == facts["config"] | {"random_decoder": 0}
    for same in ("tower", "parts", "class", "visual_tokens"):
        assert control[same] == facts[same], same


def test_what_is_said_of_the_control(facts, control):
    """Page 00: it says nothing that can be read, and learned few of the answers' tokens."""
    learned = {}
    for folder, of in ((FOLDER, facts), (CONTROL, control)):
        replies = pd.DataFrame(of["accuracy"]).query("group == 'all' and condition == 'images'")
        curve = pd.read_csv(folder / "training_curve.csv").query("phase == 'review'")
        learned[folder] = curve["answers_accuracy"].mean(), replies["unparsed"].mean()
    assert learned[FOLDER][0] > 0.8 and learned[FOLDER][1] < 0.05
    assert learned[CONTROL][0] < 0.25 and learned[CONTROL][1] == 1


@pytest.mark.parametrize("folder", [FOLDER, CONTROL])
def test_a_card_is_what_the_run_left_behind(folder):
    facts = json.loads((folder / "training.json").read_text())
    assert (folder / "README.md").read_text() == card(facts)


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
