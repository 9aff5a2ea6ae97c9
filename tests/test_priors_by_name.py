"""Priors by name: a reader's own beside the library's, what it may look at, and what is refused."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from families import untrained
from lost_in_attention.benchmarks import load_benchmark
from lost_in_attention.digits import make_scenes
from lost_in_attention.evaluation import answer_under, presets
from lost_in_attention.evaluation.grid import Variant
from lost_in_attention.evaluation.stored import facts_of
from lost_in_attention.models import load
from lost_in_attention.models.text_decoder import TextDecoder
from lost_in_attention.models.token_patches import token_patches
from lost_in_attention.sap import (
    MODES,
    SharedAttentionPrior,
    VisualTokens,
    encoded,
    register_prior,
    shared_attention_prior,
)
from lost_in_attention.sap.registry import PRIORS

LAYERS = (1, 6)


@pytest.fixture(scope="module", params=["qwen2.5-vl", "llava-next"])
def vlm(request):
    return untrained(request.param)


@pytest.fixture(scope="module")
def images():
    return [scene.image for scene in make_scenes(3, split="train", seed=1)]


@pytest.fixture(scope="module")
def inputs(vlm, images):
    """Two prompts: one image, and two."""
    return vlm.prepare([images[:1], images[1:]], ["look", "<image 1> one <image 2> two look"])


@pytest.fixture(autouse=True)
def _registry():
    """What a test registers is gone after it."""
    kept = dict(PRIORS)
    yield
    PRIORS.clear()
    PRIORS.update(kept)


def light(patches):
    return patches.mean((-3, -2, -1))


def brightness(seen: VisualTokens):
    return seen.patches(light).nan_to_num()


def chance(seen: VisualTokens):
    return torch.from_numpy(seen.random.standard_normal(seen.count))


def logits(vlm, inputs, plan):
    with torch.inference_mode(), shared_attention_prior(vlm, plan) as changed:
        return changed.model(**inputs).logits


def row(vlm, inputs, name, *, seed=0):
    """The prior of each visual token, as the decoder's layers meet it."""
    seen = []

    def scores(tokens):
        seen.append(PRIORS[name].scores(tokens))
        return seen[-1]

    register_prior("watched", scores)
    logits(vlm, inputs, SharedAttentionPrior("watched", LAYERS, seed=seed))
    return seen


def test_a_prior_is_asked_image_by_image_for_what_it_looks_at(vlm, inputs):
    register_prior("brightness", brightness)
    expected = [values.nan_to_num() for values in token_patches(vlm, inputs, light)]
    found = row(vlm, inputs, "brightness")
    assert len(found) == 3
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)


def test_it_decides_what_the_model_reads(vlm, inputs):
    """Twice the uniform prior is the uniform prior's scores and 1 / n more: another output."""
    register_prior("same", lambda seen: torch.full((seen.count,), 1 / seen.count))
    register_prior("other", lambda seen: torch.full((seen.count,), 2.0))
    uniform, same, other = (
        logits(vlm, inputs, SharedAttentionPrior(mode, LAYERS))
        for mode in ("uniform", "same", "other")
    )
    assert torch.equal(same, uniform)
    assert not torch.allclose(other, uniform)


def test_attention_received_is_the_encoders(vlm, inputs):
    register_prior("seen", lambda seen: seen.received().nan_to_num(), reads_attention=True)
    found = torch.cat(row(vlm, inputs, "seen"))
    expected = torch.cat(row(vlm, inputs, "encoder"))
    known = found != 0
    assert torch.equal(found[known], expected[known])


def test_chance_hangs_on_the_plans_seed_and_the_prompts_images_alone(vlm, images, inputs):
    register_prior("chance", chance)
    one, two, three = row(vlm, inputs, "chance")
    assert all(map(torch.equal, row(vlm, inputs, "chance"), (one, two, three)))
    assert not torch.equal(row(vlm, inputs, "chance", seed=1)[0], one)
    assert not torch.equal(two, three)
    alone = vlm.prepare([images[1:]], ["<image 1> <image 2> look"])
    assert all(map(torch.equal, row(vlm, alone, "chance"), (two, three)))


@pytest.mark.parametrize("version", ["paper", "released"])
def test_rows_are_drawn_for_whole_prompts_as_the_noise_is(vlm, inputs, version):
    register_prior("rows", PRIORS["noise"].scores, by_row=True)
    own, noise = (
        logits(vlm, inputs, SharedAttentionPrior(mode, LAYERS, version=version, seed=3))
        for mode in ("rows", "noise")
    )
    assert torch.equal(own, noise)


def test_it_generates_as_the_others_do(vlm, inputs):
    register_prior("brightness", brightness)
    options = {"max_new_tokens": 3, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    with shared_attention_prior(vlm, SharedAttentionPrior("brightness", LAYERS)) as changed:
        alike = [
            changed.model.generate(**encoded(vlm, inputs), **options, use_cache=cache)
            for cache in (True, False)
        ]
    assert torch.equal(*alike)
    assert "SAP brightness" in changed.name


def test_a_registered_prior_is_a_mode_and_joins_the_grid():
    assert list(MODES) == ["encoder", "complexity", "noise", "uniform"]
    register_prior("brightness", brightness)
    assert "brightness" in MODES
    names = [(variant.name, variant.preset) for variant in presets("llava", depth=8)]
    assert {("brightness", "paper"), ("brightness", "released")} <= set(names)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("mode", [[], {}, None, 3])
def test_a_mode_that_is_no_text_is_refused(mode):
    with pytest.raises(ValueError, match=r"mode: expected one of \['encoder'.*, got "):
        SharedAttentionPrior(mode, LAYERS)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", ["", " ", "a,b", "a/b", "..", "a b", "_a", None, 3, "all", "both"])
def test_a_name_that_options_and_files_cannot_hold_is_refused(name):
    with pytest.raises(ValueError, match="name: expected letters, digits, .*, got "):
        register_prior(name, brightness)
    assert list(PRIORS) == ["encoder", "complexity", "noise", "uniform"]


@pytest.mark.parametrize("name", ["vanilla", "blank", "blend0"])
def test_the_names_of_the_grids_other_variants_are_taken(name):
    with pytest.raises(ValueError, match=f"name: expected none of .* got '{name}'"):
        register_prior(name, brightness)


def test_a_decoder_by_itself_has_no_images_to_replace():
    alone = object.__new__(TextDecoder)
    object.__setattr__(alone, "name", "smollm2")
    with (
        pytest.raises(ValueError, match="vlm: expected a model that sees images, got 'smollm2'"),
        shared_attention_prior(alone, SharedAttentionPrior("uniform", LAYERS)),
    ):
        pass


# A run's file tells priors of one name apart


def first_token(seen: VisualTokens):
    return torch.arange(seen.count) / 1.0


def scaled(factor):
    return lambda seen: factor * torch.ones(seen.count)


def test_a_prior_registered_anew_is_not_taken_for_the_one_before(tmp_path):
    model, samples = load("small-llava"), load_benchmark("pope").draw(2, seed=4)

    def answers(**how):
        variants = [Variant("mine", "paper", SharedAttentionPrior("mine", LAYERS))]
        return answer_under(model, samples, benchmark="pope", variants=variants, **how)

    kept = {"output": tmp_path / "run.jsonl"}
    register_prior("mine", chance)
    table = answers(**kept)
    register_prior("mine", chance)
    pd.testing.assert_frame_equal(answers(**kept, resume=True), table)
    register_prior("mine", first_token)
    with pytest.raises(ValueError, match=r"priors .* there, .* now"):
        answers(**kept, resume=True)
    register_prior("mine", scaled(2))
    with pytest.raises(ValueError, match="mode: expected a function without closure.*'mine'"):
        answers(output=tmp_path / "other.jsonl")
    assert len(answers()) == 2


def test_files_name_registered_priors_alone():
    mode = SharedAttentionPrior("noise", LAYERS)
    assert facts_of([Variant("noise", "paper", mode)]).keys() == {"variants"}
    register_prior("mine", chance)
    facts = [facts_of([Variant("mine", "paper", SharedAttentionPrior("mine", LAYERS))])]
    register_prior("mine", chance, by_row=True)
    facts.append(facts_of([Variant("mine", "paper", SharedAttentionPrior("mine", LAYERS))]))
    assert facts[0]["variants"] == facts[1]["variants"]
    assert facts[0]["priors"] != facts[1]["priors"]


def test_an_unknown_mode_is_refused_with_those_that_are_known():
    register_prior("brightness", brightness)
    known = "encoder.*complexity.*noise.*uniform.*brightness"
    with pytest.raises(ValueError, match=rf"mode: expected one of .*{known}.* got 'darkness'"):
        SharedAttentionPrior("darkness", LAYERS)


def test_the_librarys_names_are_taken_and_ones_own_can_be_given_again():
    with pytest.raises(ValueError, match=r"name: expected none of .* got 'noise'"):
        register_prior("noise", brightness)
    register_prior("brightness", chance)
    register_prior("brightness", brightness)
    assert PRIORS["brightness"].scores is brightness


@pytest.mark.usefixtures("unchecked")
def test_what_is_no_function_is_refused():
    with pytest.raises(ValueError, match=r"scores: expected a function, got 1.0"):
        register_prior("one", 1.0)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (lambda n: torch.ones(n + 1), r"shape \(5,\), got \(6,\)"),
        (lambda n: torch.ones(1, n), r"shape \(5,\), got \(1, 5\)"),
        (lambda n: torch.full((n,), torch.nan), r"shape \(5,\), got \(5,\) with NaN"),
        (lambda n: np.ones(n), r"shape \(5,\), got ndarray"),
        (lambda n: torch.full((n,), 1e300, dtype=torch.float64), r"shape \(5,\), .* with NaN or"),
        (lambda n: torch.ones(n, dtype=torch.complex64), r"shape \(5,\), .* of torch.complex64"),
        (lambda n: torch.ones(n, dtype=torch.long), r"shape \(5,\), got \(5,\) of torch.int64"),
        (lambda n: torch.ones(n) > 0, r"shape \(5,\), got \(5,\) of torch.bool"),
    ],
)
def test_scores_that_are_none_are_named(scores, message):
    register_prior("odd", lambda seen: scores(seen.count))
    seen = VisualTokens([SimpleNamespace(tokens=5)], np.random.default_rng(0))
    with pytest.raises(ValueError, match=f"prior 'odd': expected finite scores of the {message}"):
        PRIORS["odd"].of(seen)
