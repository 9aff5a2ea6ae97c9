"""Baselines and controls: what they change, what they keep, and that nothing of them stays."""

import math
from itertools import pairwise
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lost_in_attention.benchmarks import load_benchmark
from lost_in_attention.digits import COLOURS, DIGIT_NAMES
from lost_in_attention.metrics.rid import update_geometry
from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.residual import baselines
from lost_in_attention.residual.baselines import noise_qkv, noise_update, without_rope
from lost_in_attention.residual.controls import (
    Noise,
    Resized,
    Rotated,
    gaussian_like,
    random_rotation,
    resized,
)
from lost_in_attention.residual.rope_tolerance import rope_tolerance
from lost_in_attention.residual.stream import State, record
from lost_in_attention.residual.value_average import output_against_values
from lost_in_attention.training.architecture import ARCHITECTURES
from lost_in_attention.training.tokenizer import train_tokenizer

BASELINES = {
    "noise update": lambda vlm: noise_update(vlm, seed=3),
    "noise QKV": lambda vlm: noise_qkv(vlm, seed=3),
    "no RoPE": without_rope,
}
each_baseline = pytest.mark.parametrize("name", BASELINES)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([f" {word}" for word in (*DIGIT_NAMES, *COLOURS)] * 20)


@pytest.fixture(scope="module", params=ARCHITECTURES)
def vlm(request, tokenizer):
    """A random model of each family."""
    model, processor = ARCHITECTURES[request.param].build(tokenizer, seed=0)
    return VisionLanguageModel(model.eval(), processor, request.param)


@pytest.fixture(scope="module")
def samples():
    return list(load_benchmark("pope").draw(2, seed=1))


@pytest.fixture(scope="module")
def inputs(vlm, samples):
    """Two questions of unlike length, so that one is padded."""
    questions = [samples[0].prompt, samples[1].prompt + " Look twice."]
    prepared = vlm.prepare([s.images for s in samples], questions)
    assert not prepared["attention_mask"].all()
    return prepared


def states(vlm, inputs) -> list[State]:
    kept = []
    record(vlm, inputs, lambda s: kept.append(State(s.layer, s.module, s.hidden.clone())))
    return kept


def logits(vlm, inputs):
    with torch.inference_mode():
        return vlm.model(**inputs).logits


def hooks(model) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


@each_baseline
@pytest.mark.parametrize("ending", [None, RuntimeError, KeyboardInterrupt])
def test_the_model_is_left_exactly_as_it_was(vlm, inputs, name, ending):
    weights = {key: value.clone() for key, value in vlm.model.state_dict().items()}
    before, count = logits(vlm, inputs), hooks(vlm.model)
    try:
        with BASELINES[name](vlm):
            assert not torch.equal(logits(vlm, inputs), before)
            if ending:
                raise ending
    except (RuntimeError, KeyboardInterrupt) as raised:
        assert type(raised) is ending
    assert hooks(vlm.model) == count
    assert all(torch.equal(value, weights[key]) for key, value in vlm.model.state_dict().items())
    assert torch.equal(logits(vlm, inputs), before)


@pytest.mark.parametrize("name", ["noise update", "noise QKV"])
def test_an_error_on_the_way_in_leaves_nothing_behind(vlm, inputs, name, monkeypatch):
    """Something breaks when some layers are replaced and others are not yet."""
    before, count = logits(vlm, inputs), hooks(vlm.model)
    calls = []

    def fails_later(weight, seed):
        calls.append(seed)
        if len(calls) == 7:
            raise KeyboardInterrupt
        return gaussian_like(weight, seed)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        if name == "noise QKV":
            patch.setattr(baselines, "gaussian_like", fails_later)
        else:
            broken = Mock(side_effect=KeyboardInterrupt)
            patch.setattr(vlm.layers[-1].self_attn, "register_forward_hook", broken)
        with BASELINES[name](vlm):
            pass
    assert hooks(vlm.model) == count
    assert torch.equal(logits(vlm, inputs), before)


@each_baseline
def test_the_name_says_what_was_done(vlm, name):
    with BASELINES[name](vlm) as changed:
        assert changed.name.startswith(f"{vlm.name} ({name}")
        assert changed.model is vlm.model


@pytest.mark.parametrize("baseline", [noise_update, noise_qkv])
def test_a_negative_seed_is_refused(vlm, baseline):
    with (
        pytest.raises(ValueError, match="seed: expected 0 or more, got -1"),
        baseline(vlm, seed=-1),
    ):
        pass


@pytest.mark.parametrize("baseline", [noise_update, noise_qkv])
def test_the_seed_decides(vlm, inputs, baseline):
    def noisy(seed):
        with baseline(vlm, seed=seed):
            return logits(vlm, inputs)

    assert torch.equal(noisy(1), noisy(1))
    assert not torch.equal(noisy(1), noisy(2))


def test_noise_updates_have_the_moments_of_what_they_replace(vlm, inputs):
    """Read in layer 0, where the replaced update is the one of the untouched model."""
    usual = states(vlm, inputs)
    with noise_update(vlm, seed=0) as changed:
        noisy = states(changed, inputs)
    real = inputs["attention_mask"].bool()
    for index in range(2):
        own, new = (
            (run[1].hidden - run[0].hidden)[index][real[index]].double() for run in (usual, noisy)
        )
        assert float(new.std()) == pytest.approx(float(own.std()), rel=0.05)
        error = float(own.std()) / math.sqrt(own.numel())
        assert float(new.mean()) == pytest.approx(float(own.mean()), abs=5 * error)
        # The correlation of two independent matrices of n entries is about 1 / sqrt(n).
        pair = torch.stack([own.flatten(), new.flatten()])
        assert abs(float(torch.corrcoef(pair)[0, 1])) < 5 / math.sqrt(own.numel())


def test_every_layer_has_noise_of_its_own(vlm, inputs):
    with noise_update(vlm, seed=0) as changed:
        noisy = states(changed, inputs)
    updates = [
        after.hidden[1] - before.hidden[1]
        for before, after in pairwise(noisy)
        if after.module == "attention"
    ]
    across = torch.corrcoef(torch.stack([update.flatten() for update in updates]))
    assert float((across - torch.eye(len(updates))).abs().max()) < 0.1


def test_noise_does_not_hang_on_the_batch(vlm, samples, inputs):
    """Alone and beside a longer question a sample meets the same noise."""
    alone = vlm.prepare([samples[0].images], [samples[0].prompt])
    with noise_update(vlm, seed=0) as changed:
        single, batch = states(changed, alone), states(changed, inputs)
    real = inputs["attention_mask"][0].bool()
    for one, two in zip(single, batch, strict=True):
        torch.testing.assert_close(one.hidden[0], two.hidden[0][real], atol=1e-4, rtol=1e-3)


def test_noise_weights_have_the_moments_of_the_learned_ones(vlm):
    attention = vlm.layers[2].self_attn
    names = ("q_proj", "k_proj", "v_proj")
    learned = {name: getattr(attention, name).weight.detach().double().clone() for name in names}
    kept = attention.o_proj.weight.clone()
    biases = None if attention.k_proj.bias is None else attention.k_proj.bias.clone()
    with noise_qkv(vlm, seed=0):
        noisy = {name: getattr(attention, name).weight.detach().double() for name in names}
        assert torch.equal(attention.o_proj.weight, kept)
        assert biases is None or torch.equal(attention.k_proj.bias, biases)
    for name in names:
        error = float(learned[name].std()) / math.sqrt(learned[name].numel())
        assert float(noisy[name].std()) == pytest.approx(float(learned[name].std()), rel=0.05)
        assert float(noisy[name].mean()) == pytest.approx(
            float(learned[name].mean()), abs=5 * error
        )
    # One stream for all would make k_proj and v_proj, of one shape, the same noise.
    pair = torch.stack([noisy["k_proj"].flatten(), noisy["v_proj"].flatten()])
    assert abs(float(torch.corrcoef(pair)[0, 1])) < 0.1


def test_without_rope_the_decoder_sees_no_distance(vlm, inputs):
    """Keys and queries without positions: moving all positions apart changes nothing."""
    embeddings = torch.randn(1, 5, vlm.model.config.text_config.hidden_size)
    near, far = torch.arange(5)[None], 7 * torch.arange(5)[None]
    # Without a mask, jumps between positions would count as borders between packed texts.
    given = {"inputs_embeds": embeddings, "attention_mask": torch.ones(1, 5, dtype=torch.long)}

    def last(positions):
        with torch.inference_mode():
            return vlm.decoder(**given, position_ids=positions, use_cache=False).last_hidden_state

    assert not torch.allclose(last(near), last(far), atol=1e-4)
    with without_rope(vlm):
        assert torch.equal(last(near), last(far))
    first = states(vlm, inputs)[:2]
    with without_rope(vlm) as changed:
        bare = states(changed, inputs)[:2]
    assert torch.equal(first[0].hidden, bare[0].hidden)
    assert not torch.equal(first[1].hidden, bare[1].hidden)


shapes = st.tuples(st.integers(2, 9), st.integers(2, 9))


def matrices(shape: tuple[int, int], seed: int):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))


@settings(max_examples=60, deadline=None)
@given(shapes, st.integers(0, 10**6), st.floats(0.01, 0.95), st.floats(1e-3, 1e3))
def test_resized_updates_have_the_size_and_their_direction(shape, seed, size, scale):
    before, update = matrices(shape, seed)
    update = update * scale
    found = resized(before, update, size)
    assert float(found.norm() / (before + found).norm()) == pytest.approx(size, rel=1e-9)
    cosine = (found * update).sum() / (found.norm() * update.norm())
    assert float(cosine) == pytest.approx(1, abs=1e-12)


def test_resizing_to_the_own_size_changes_nothing():
    before, update = matrices((5, 8), 0)
    own = float(update.norm() / (before + update).norm())
    torch.testing.assert_close(resized(before, update, own), update)


def test_resizing_keeps_novelty():
    before, update = matrices((5, 8), 1)
    changed = resized(before, update, 0.2)
    own, new = (update_geometry(before, before + each).factors for each in (update, changed))
    assert new.size == pytest.approx(0.2)
    assert new.feature_novelty == pytest.approx(own.feature_novelty)


@settings(max_examples=30, deadline=None)
@given(shapes, st.integers(0, 10**6))
def test_a_rotation_keeps_singular_values_and_has_the_size(shape, seed):
    before, update = matrices(shape, seed)
    found = Rotated(0.3, seed=seed)(before, update)
    assert float(found.norm() / (before + found).norm()) == pytest.approx(0.3)
    own, new = (torch.linalg.svdvals(each / each.norm()) for each in (update, found))
    torch.testing.assert_close(own, new, atol=1e-9, rtol=1e-9)


def test_the_rotation_is_orthogonal_and_has_no_preferred_direction():
    rotation = random_rotation(64, (5, 0))
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(64, dtype=torch.float64))
    # Over seeds the image of a vector averages out: mean of n unit vectors, length ~ 1 / sqrt(n).
    images = torch.stack([random_rotation(16, (seed,))[0] for seed in range(400)])
    assert float(images.mean(0).norm()) < 3 / math.sqrt(400)
    assert float(images.square().mean(0).sub(1 / 16).abs().max()) < 0.03


@pytest.mark.parametrize("shape", [(20, 80), (80, 20)])
def test_a_rotated_update_is_as_new_as_a_random_one(shape):
    """Chance puts 3/4 of the energy outside 20 of 80 dimensions, of features or of tokens."""
    generator = torch.Generator().manual_seed(0)
    before = torch.randn(shape, generator=generator, dtype=torch.float64)
    mixing = torch.randn(20, 20, generator=generator, dtype=torch.float64)
    inside = mixing @ before if shape == (20, 80) else before @ mixing
    changed = Rotated(0.3, seed=1)(before, inside)
    own, new = (update_geometry(before, before + each).factors for each in (inside, changed))
    assert max(own.token_novelty, own.feature_novelty) < 1e-6
    novelty = new.feature_novelty if shape == (20, 80) else new.token_novelty
    assert novelty**2 == pytest.approx(3 / 4, abs=0.05)


def test_noise_has_the_moments_and_grows_from_the_front():
    values = 3 + 2 * torch.randn(400, 300, generator=torch.Generator().manual_seed(0))
    noise = gaussian_like(values, [4])
    assert float(noise.mean()) == pytest.approx(float(values.mean()), abs=0.05)
    assert float(noise.std()) == pytest.approx(float(values.std()), rel=0.02)
    constant = torch.full((3, 2), 5.0)
    assert torch.equal(gaussian_like(constant, [4]), constant)
    standard = [
        (n - v.double().mean()) / v.double().std(correction=0)
        for v in (values, values[:7])
        for n in [gaussian_like(v.double(), [4])]
    ]
    np.testing.assert_allclose(standard[0][:7], standard[1], atol=1e-9)
    assert torch.equal(Noise(4)(values, values), noise)


@pytest.mark.parametrize("size", [0, 1, -0.5, math.nan])
def test_impossible_sizes_are_refused_early(size):
    for control in (lambda: Resized(size), lambda: Rotated(size, seed=0)):
        with pytest.raises(ValueError, match="size: expected a number between 0 and 1"):
            control()


NAN = torch.full((2, 2), math.nan)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("before", "update", "message"),
    [
        (torch.ones(2, 2), torch.zeros(2, 2), "update: expected a nonzero entry"),
        (torch.zeros(2, 2), torch.ones(2, 2), "before: expected a nonzero entry"),
        (torch.ones(2, 2), NAN, "update: expected finite entries, got 4 of 4 NaN or infinite"),
        (NAN, torch.ones(2, 2), "before: expected finite entries"),
        (torch.ones(0, 2), torch.ones(0, 2), r"update: expected entries, got shape \(0, 2\)"),
        (torch.ones(2, 2), torch.ones(1, 2), r"before and update: .* \(2, 2\) and \(1, 2\)"),
    ],
)
def test_an_update_that_has_no_such_size_is_refused(before, update, message):
    with pytest.raises(ValueError, match=message):
        resized(before, update, 0.1)


def test_noise_like_nothing_or_nan_is_refused():
    with pytest.raises(ValueError, match="values: expected finite entries"):
        gaussian_like(NAN, [0])
    with pytest.raises(ValueError, match="values: expected entries"):
        gaussian_like(torch.ones(0, 3), [0])


def test_negative_seeds_are_refused_early():
    for control in (lambda: Noise(-1), lambda: Rotated(0.1, seed=-1)):
        with pytest.raises(ValueError, match="seed: expected 0 or more, got -1"):
            control()
    with pytest.raises(ValueError, match="seed: expected 0 or more, got -2"):
        gaussian_like(torch.ones(2, 2), [0, -2])
    with pytest.raises(ValueError, match="seed: expected 0 or more, got -2"):
        random_rotation(3, (0, -2))
    with pytest.raises(ValueError, match="length: expected at least 1, got 0"):
        random_rotation(0, (0,))


def test_few_rotations_are_kept_in_memory():
    """At 3,584 features one has 103 MB: all that are kept stay below a gigabyte."""
    assert random_rotation.cache_info().maxsize * 3584**2 * 8 < 1e9


def test_every_family_can_be_measured_around_its_baselines(vlm, samples):
    """The tiled families have more tokens than features."""
    tolerance = rope_tolerance(vlm, samples)
    assert len(tolerance) == 2 * len(vlm.layers)
    assert np.isfinite(tolerance["rid"]).all()
    assert (tolerance["rid"][tolerance["layer"] > 0] > 0).all()
    with noise_qkv(vlm, seed=0) as noisy:
        averaged = output_against_values(noisy, samples)
    assert averaged["variance_ratio"].between(0, 1).all()
    assert (averaged["mean_shift"] > 0).all()
