"""Images that are encoded once and travel as data: the same outputs, one pass of the tower."""

import pytest
import torch

from families import FAMILIES, tower_passes, untrained
from lost_in_attention.digits import make_scenes
from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.sap import MODES, SharedAttentionPrior, again, encoded
from lost_in_attention.sap import shared_attention_prior as under

PLANS = [
    None,
    *(SharedAttentionPrior(mode, (1, 6)) for mode in MODES),
    SharedAttentionPrior("encoder", (1, 6), queries="last", version="released"),
    None,
]


@pytest.fixture(scope="module", params=FAMILIES)
def vlm(request) -> VisionLanguageModel:
    return untrained(request.param)


@pytest.fixture(scope="module")
def inputs(vlm):
    images = [scene.image for scene in make_scenes(2, split="train", seed=1)]
    return vlm.prepare(images, ["look", "one two look"])


@pytest.fixture
def passes(vlm):
    with tower_passes(vlm) as seen:
        yield seen


def generated(vlm, inputs, plan, **further):
    options = {"max_new_tokens": 3, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    options |= {"return_dict_in_generate": True, "output_logits": True} | further
    if plan is None:
        return torch.stack(vlm.model.generate(**inputs, **options).logits)
    with under(vlm, plan):
        return torch.stack(vlm.model.generate(**inputs, **options).logits)


@pytest.mark.parametrize("beams", [1, 2])
def test_one_encoding_serves_all_plans(vlm, inputs, passes, beams):
    """One pass for all, and one for the encoder's map, which two of the plans ask for."""
    expected = [generated(vlm, encoded(vlm, inputs), plan, num_beams=beams) for plan in PLANS]
    passes.clear()
    once = encoded(vlm, inputs)
    got = [generated(vlm, again(once), plan, num_beams=beams) for plan in PLANS]
    assert len(passes) == 2
    for one, other in zip(expected, got, strict=True):
        assert torch.equal(one, other)


def test_encoded_images_are_those_of_the_model(vlm, inputs):
    assert torch.equal(generated(vlm, encoded(vlm, inputs), None), generated(vlm, inputs, None))
    with torch.inference_mode():
        assert torch.equal(vlm.model(**encoded(vlm, inputs)).logits, vlm.model(**inputs).logits)


@pytest.mark.parametrize("mode", MODES)
def test_a_plain_pass_encodes_for_itself(vlm, inputs, mode):
    with torch.inference_mode(), under(vlm, SharedAttentionPrior(mode, (1, 6))):
        assert torch.equal(vlm.model(**inputs).logits, vlm.model(**encoded(vlm, inputs)).logits)


def test_text_alone_stays_as_it_is(vlm):
    text = vlm.prepare([[]], ["look"])
    assert again(encoded(vlm, text)).keys() == text.keys()
