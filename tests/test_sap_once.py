"""Encoding a batch once: the same outputs, one pass of the vision tower."""

import pytest
import torch

from lost_in_attention.digits import COLOURS, DIGIT_NAMES, make_scenes
from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.sap import MODES, SharedAttentionPrior, encoded_once
from lost_in_attention.sap import shared_attention_prior as under
from lost_in_attention.training.architecture import ARCHITECTURES
from lost_in_attention.training.tokenizer import train_tokenizer

PLANS = [
    None,
    *(SharedAttentionPrior(mode, (1, 6)) for mode in MODES[:2]),
    None,
    *(SharedAttentionPrior(mode, (1, 6)) for mode in MODES[2:]),
    SharedAttentionPrior("encoder", (1, 6), queries="last", variant="released"),
    None,
]


@pytest.fixture(scope="module", params=ARCHITECTURES)
def vlm(request) -> VisionLanguageModel:
    tokenizer = train_tokenizer([f" {word}" for word in ("look", *DIGIT_NAMES, *COLOURS)] * 5)
    model, processor = ARCHITECTURES[request.param].build(tokenizer, seed=0)
    return VisionLanguageModel(model.eval(), processor, request.param)


@pytest.fixture(scope="module")
def batches(vlm):
    images = [scene.image for scene in make_scenes(4, split="train", seed=1)]
    prompts = ["look", "one two look"]
    return [vlm.prepare(each, prompts) for each in (images[:2], images[2:])]


@pytest.fixture
def passes(vlm):
    """A list that grows with each pass of the vision tower."""
    inner, seen = vlm.model.model, []
    tower = inner.visual if hasattr(inner, "visual") else inner.vision_tower
    hook = tower.register_forward_pre_hook(lambda *_: seen.append(1))
    yield seen
    hook.remove()


def cloned(inputs):
    return {name: value.clone() for name, value in inputs.items()}


def generated(vlm, inputs, plan):
    options = {"max_new_tokens": 3, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    options |= {"return_dict_in_generate": True, "output_logits": True}
    if plan is None:
        return torch.stack(vlm.model.generate(**inputs, **options).logits)
    with under(vlm, plan):
        return torch.stack(vlm.model.generate(**inputs, **options).logits)


def test_one_pass_serves_all_plans(vlm, batches, passes):
    """Vanilla passes before, between and after; equal pixels, not the same tensors."""
    expected = [generated(vlm, inputs, plan) for inputs in batches for plan in PLANS]
    assert len(passes) == len(expected)
    passes.clear()
    with encoded_once(vlm):
        got = [generated(vlm, cloned(inputs), plan) for inputs in batches for plan in PLANS]
    assert len(passes) == len(batches)
    for one, other in zip(expected, got, strict=True):
        assert torch.equal(one, other)


def test_only_the_latest_batch_is_kept(vlm, batches, passes):
    with encoded_once(vlm):
        for inputs in (batches[0], batches[0], batches[1], batches[0]):
            generated(vlm, inputs, None)
    assert len(passes) == 3
    generated(vlm, batches[0], None)
    assert len(passes) == 4


def test_one_different_pixel_is_another_batch(vlm, batches, passes):
    other = cloned(batches[0])
    other["pixel_values"].view(-1)[7] += 0.25
    with encoded_once(vlm):
        one, two = (generated(vlm, inputs, None) for inputs in (batches[0], other))
    assert len(passes) == 2 and not torch.equal(one, two)


@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
def test_nothing_is_left_behind(vlm, batches, error):
    before = sorted(vlm.model.model.__dict__)

    def run():
        with encoded_once(vlm), under(vlm, PLANS[1]):
            vlm.model(**batches[0])
            if error:
                raise error

    if error:
        with pytest.raises(error):
            run()
    else:
        run()
    assert sorted(vlm.model.model.__dict__) == before
    assert vlm.model.config.vision_config._attn_implementation == "sdpa"


@pytest.mark.parametrize("outer", [encoded_once, lambda vlm: under(vlm, PLANS[1])])
def test_blocks_the_wrong_way_round_are_refused(vlm, outer):
    with (
        outer(vlm),
        pytest.raises(ValueError, match="outside any block of encoded_once or shared"),
        encoded_once(vlm),
    ):
        pass


def test_a_tower_that_cannot_be_recorded_is_refused(vlm):
    vlm.model.set_attn_implementation({"vision_config": "eager"})
    try:
        with pytest.raises(ValueError, match="run on 'sdpa', got 'eager'"), encoded_once(vlm):
            pass
    finally:
        vlm.model.set_attn_implementation({"vision_config": "sdpa"})
