"""Capture: the residual identities hold bit for bit, and the model is left as it was."""

import pytest
import torch

from lost_in_attention.benchmarks import load_benchmark
from lost_in_attention.models import load
from lost_in_attention.residual.stream import record, visiting


def states_of(vlm, inputs):
    seen = []

    def keep(state):
        seen.append((state.layer, state.module, state.hidden.clone()))

    record(vlm, inputs, keep)
    return seen


@pytest.fixture(scope="module")
def samples():
    return list(load_benchmark("pope").draw(3, seed=1))


@pytest.fixture(scope="module", params=[torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def vlm(request):
    return load("small-qwen2.5-vl", dtype=request.param)


@pytest.fixture(scope="module")
def inputs(vlm, samples):
    return vlm.prepare([s.image for s in samples], [s.prompt for s in samples])


def test_two_states_a_layer_and_one_before(vlm, inputs):
    seen = [(layer, module) for layer, module, _ in states_of(vlm, inputs)]
    expected = [(layer, m) for layer in range(len(vlm.layers)) for m in ("attention", "ffn")]
    assert seen == [(0, "input"), *expected]


def test_updates_add_up_bit_for_bit(vlm, inputs):
    """X_in + attention = X_attn and X_attn + mlp = X_ffn, exactly, in every layer."""
    written = []
    handles = [
        module.register_forward_hook(
            lambda module, args, output: written.append(
                (output[0] if isinstance(output, tuple) else output).clone()
            )
        )
        for layer in vlm.layers
        for module in (layer.self_attn, layer.mlp)
    ]
    try:
        states = [hidden for _, _, hidden in states_of(vlm, inputs)]
    finally:
        for handle in handles:
            handle.remove()
    assert len(written) == len(states) - 1
    for before, update, after in zip(states, written, states[1:], strict=False):
        assert torch.equal(before + update, after)


def test_the_last_state_is_the_final_norms_input(vlm, inputs):
    states = [hidden for _, _, hidden in states_of(vlm, inputs)]
    with torch.inference_mode():
        final = vlm.model.model(**inputs, use_cache=False).last_hidden_state
        assert torch.equal(vlm.decoder.norm(states[-1]), final)


def test_watching_changes_nothing(vlm, inputs):
    with torch.inference_mode():
        before = vlm.model(**inputs).logits
        with visiting(vlm, lambda state: None):
            during = vlm.model(**inputs).logits
        after = vlm.model(**inputs).logits
    assert torch.equal(before, during) and torch.equal(before, after)


def test_a_failing_visitor_leaves_no_hook(vlm, inputs):
    def fail(state):
        raise RuntimeError("stop here")

    with pytest.raises(RuntimeError, match="stop here"):
        record(vlm, inputs, fail)
    for module in vlm.model.modules():
        assert not module._forward_hooks and not module._forward_pre_hooks


def test_generation_shows_the_prompt_alone(vlm, inputs):
    seen = []
    with torch.inference_mode(), visiting(vlm, lambda state: seen.append(state.hidden.shape[1])):
        vlm.model.generate(**inputs, max_new_tokens=3, do_sample=False)
    assert seen == [inputs["input_ids"].shape[1]] * (2 * len(vlm.layers) + 1)


def test_no_token_sees_the_future(vlm, inputs):
    """Changing the last token moves no earlier state."""
    changed = dict(inputs)
    changed["input_ids"] = inputs["input_ids"].clone()
    changed["input_ids"][:, -1] = vlm.processor.tokenizer.eos_token_id
    for (_, _, one), (_, _, other) in zip(
        states_of(vlm, inputs), states_of(vlm, changed), strict=True
    ):
        assert torch.equal(one[:, :-1], other[:, :-1])
        assert not torch.equal(one[:, -1], other[:, -1])
