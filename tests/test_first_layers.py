"""Layers that a plan spares are computed once: every reply and logit stays what it was."""

import pytest
import torch
from transformers import PreTrainedModel

from families import FAMILIES, untrained
from lost_in_attention.digits import make_scenes
from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.sap import MODES, SharedAttentionPrior, again, encoded
from lost_in_attention.sap import shared_attention_prior as under
from lost_in_attention.sap.first_layers import kept_layers, replayed

OPTIONS = {
    "max_new_tokens": 4, "do_sample": False, "eos_token_id": None, "pad_token_id": 0,
    "return_dict_in_generate": True, "output_logits": True,
}  # fmt: skip
PLANS = [
    *(SharedAttentionPrior(mode, (3, 5), heads=(0.3, 0.7)) for mode in MODES),
    SharedAttentionPrior("noise", (6, 7), queries="last", version="released"),
]


@pytest.fixture(scope="module", params=FAMILIES)
def vlm(request) -> VisionLanguageModel:
    return untrained(request.param)


@pytest.fixture(scope="module")
def inputs(vlm):
    images = [scene.image for scene in make_scenes(2, split="train", seed=1)]
    return encoded(vlm, vlm.prepare(images, ["look", "one two look"]))


def steps(model: PreTrainedModel, inputs) -> torch.Tensor:
    return torch.stack(model.generate(**again(inputs), **OPTIONS).logits)


def test_bit_by_bit(vlm, inputs):
    expected = []
    for plan in PLANS:
        with under(vlm, plan):
            expected.append(steps(vlm.model, inputs))
    vanilla = steps(vlm.model, inputs)
    with kept_layers(vlm, {3, 6}) as kept:
        assert torch.equal(steps(vlm.model, inputs), vanilla)
    for plan, wanted in zip(PLANS, expected, strict=True):
        with replayed(vlm, kept, plan.layers[0]), under(vlm, plan):
            assert torch.equal(steps(vlm.model, inputs), wanted)
    assert torch.equal(steps(vlm.model, inputs), vanilla)


def test_the_layers_are_skipped(vlm, inputs):
    """Each runs for the tokens behind the prompt alone."""
    with kept_layers(vlm, {3}) as kept:
        steps(vlm.model, inputs)
    rows = []
    hooks = [
        layer.mlp.register_forward_pre_hook(lambda m, args: rows.append(args[0].shape[1]))
        for layer in vlm.layers[:3]
    ]
    with replayed(vlm, kept, 3):
        steps(vlm.model, inputs)
    for hook in hooks:
        hook.remove()
    assert rows == [1] * 9


def test_nothing_is_left_behind(vlm, inputs):
    before = [sorted(layer.__dict__) for layer in vlm.layers]
    with pytest.raises(KeyboardInterrupt), kept_layers(vlm, {3}) as kept:
        steps(vlm.model, inputs)
        with replayed(vlm, kept, 3):
            raise KeyboardInterrupt
    assert [sorted(layer.__dict__) for layer in vlm.layers] == before
    assert not any(layer._forward_hooks for layer in vlm.layers)
