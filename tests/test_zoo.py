"""The shipped zoo: ordinary folders that load, fit their limits and reach their accuracy."""

import json

import pandas as pd
import pytest
import torch
from PIL import Image

from lost_in_attention.benchmarks import BENCHMARKS, load_benchmark
from lost_in_attention.evaluation.questions import evaluate
from lost_in_attention.models import VisionLanguageModel, load
from lost_in_attention.models.checks import check
from lost_in_attention.models.shipped import chosen_models
from lost_in_attention.runs.paths import data_folder
from lost_in_attention.training import ZOO
from lost_in_attention.training.architecture import ARCHITECTURES, VISUAL_TOKENS

MODELS = data_folder() / "models"
SHIPPED = chosen_models("zoo")
# What a family must reach; another training seed of its recipe need not get as far.
FAMILIES = chosen_models("families")


def facts(name: str) -> dict:
    return json.loads((MODELS / name / "training.json").read_text())


def overall(name: str) -> pd.DataFrame:
    """One row a benchmark: accuracy with images, with blank ones, and of chance."""
    table = pd.DataFrame(facts(name)["accuracy"]).query("group == 'all'")
    accuracy = table.pivot(index="benchmark", columns="condition", values="accuracy")
    return accuracy.join(table.groupby("benchmark")["chance"].first())


@pytest.fixture(scope="module", params=SHIPPED)
def vlm(request):
    return load(request.param)


def test_what_is_shipped_belongs_to_the_zoo_and_stays_small():
    assert set(SHIPPED) <= set(ZOO)
    assert {ZOO[name].architecture for name in FAMILIES} == set(ARCHITECTURES)
    assert sum(path.stat().st_size for path in MODELS.rglob("*") if path.is_file()) < 150e6


def test_a_stock_class_within_its_limits(vlm):
    folder = MODELS / vlm.name
    assert type(vlm.model) is ARCHITECTURES[ZOO[vlm.name].architecture].model
    assert sum(p.numel() for p in vlm.model.parameters()) <= 10_000_000
    assert len(vlm.layers) >= 8
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 16 * 2**20
    assert not [p for p in folder.rglob("*") if p.suffix in (".bin", ".pt", ".pkl", ".py")]


def test_at_least_64_visual_tokens(vlm):
    sample = load_benchmark("pope")[0]
    inputs = vlm.prepare([sample.images], [sample.prompt])
    assert int(vlm.visual_mask(inputs).sum()) == facts(vlm.name)["visual_tokens"] >= 64


def test_it_answers_held_out_questions_and_not_blank_images(vlm):
    samples = load_benchmark("pope").draw(200, seed=11)
    assert evaluate(vlm, samples, benchmark="pope")["correct"].mean() >= 0.8
    blank = evaluate(vlm, samples.blanked(), benchmark="pope")
    assert abs(blank["correct"].mean() - 0.5) <= 0.12


@pytest.mark.parametrize("name", SHIPPED)
def test_the_card_scores_all_seven_sets(name):
    table = overall(name)
    assert set(table.index) == set(BENCHMARKS)
    assert table["images"].max() < 1, "the tracing needs wrong answers in every set"


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_sees_what_it_is_asked_about(name):
    """POPE; and over chance and over blank images, in the mean of the seven sets."""
    table = overall(name)
    assert table.loc["pope", "images"] >= 0.85
    means = table.mean()
    assert means["images"] - means["chance"] >= 0.25
    assert means["images"] - means["blank images"] >= 0.25


@pytest.mark.parametrize("name", SHIPPED)
def test_cards_and_their_facts_agree(name):
    card = (MODELS / name / "README.md").read_text()
    for row in facts(name)["accuracy"]:
        if row["group"] == "all" and row["condition"] == "images":
            assert f"{row['accuracy']:.4g}" in card
    assert facts(name)["command"] in card and facts(name)["versions"]["torch"]


@pytest.mark.parametrize("name", SHIPPED)
def test_the_card_of_vmcbench_is_the_mean_of_its_sources(name):
    rows = pd.DataFrame(facts(name)["accuracy"]).query("benchmark == 'vmcbench'")
    sources = rows.query("group != 'all'").groupby("condition")["accuracy"].mean()
    overall = rows.query("group == 'all'").set_index("condition")["accuracy"]
    assert overall.to_dict() == pytest.approx(sources.to_dict())


def test_a_stored_accuracy_comes_out_again(vlm):
    """The card's POPE questions, asked again: the same share is right, up to rounding's ties."""
    stored = overall(vlm.name).loc["pope", "images"]
    samples = load_benchmark("pope").draw(1000, seed=facts(vlm.name)["evaluation"]["seed"])
    now = evaluate(vlm, samples[:200], benchmark="pope")["correct"]
    assert abs(now.mean() - stored) < 4 * (stored * (1 - stored) / 200) ** 0.5 + 1e-9


def test_a_batch_answers_as_its_members_do(vlm):
    few = load_benchmark("realworldqa").draw(6, seed=1)
    together = evaluate(vlm, few, benchmark="realworldqa", batch_size=6)
    alone = evaluate(vlm, few, benchmark="realworldqa", batch_size=1)
    assert together["reply"].tolist() == alone["reply"].tolist()


def test_several_images_and_none(vlm):
    """Markers place images in the text; a prompt without an image is text alone."""
    red, blue = (Image.new("RGB", (96, 96), colour) for colour in ("red", "blue"))
    both = vlm.prepare([[red, blue]], ["<image 2> and <image 1>"])
    none = vlm.prepare([[]], ["no image"])
    assert int(vlm.visual_mask(none).sum()) == 0
    # OneVision cuts no tiles where a prompt has several images.
    assert int(vlm.visual_mask(both).sum()) >= 2 * VISUAL_TOKENS
    with pytest.raises(ValueError, match="prompt: expected markers of its 1 images"):
        vlm.prepare([red], ["<image 2>"])


class TestChecks:
    """A model that does not do what is measured is refused, with a sentence that says why."""

    @pytest.fixture
    def small(self):
        return load("small-qwen2.5-vl")

    def test_attention_that_is_not_read(self, small):
        for layer in small.layers:
            torch.nn.init.zeros_(layer.self_attn.o_proj.weight)
        with pytest.raises(ValueError, match="logits .* to change when a layer's attention"):
            check(small)

    def test_rows_that_do_not_sum_to_one(self, small):
        attention = small.layers[2].self_attn
        plain = attention.forward
        attention.forward = lambda *a, **k: tuple(
            2 * out if out is not None and out.ndim == 4 else out for out in plain(*a, **k)
        )
        with pytest.raises(ValueError, match="rows .* to sum to 1, got a row off by 1 in layer 2"):
            check(small)

    def test_placeholders_that_do_not_match(self, small, monkeypatch):
        monkeypatch.setattr(VisionLanguageModel, "encode_images", lambda *_: [torch.zeros(63, 128)])
        with pytest.raises(ValueError, match="vision tower's 63 tokens, got 64"):
            check(small)

    def test_the_attention_in_use_is_restored(self, small):
        before = small.decoder.config._attn_implementation
        check(small)
        assert small.decoder.config._attn_implementation == before
