"""Everything that runs a model, on a pretend accelerator: no tensor is left on the processor."""

import numpy as np
import pytest
import torch

from accelerator import DEVICE, AcceleratorTensor, accelerator, spread
from lost_in_attention.benchmarks import load_benchmark
from lost_in_attention.evaluation import answer_under, family_of, presets, prior_entropies
from lost_in_attention.evaluation.questions import evaluate
from lost_in_attention.metrics.rid import ExplainedEnergy
from lost_in_attention.models import load
from lost_in_attention.models.patch_boxes import patch_boxes
from lost_in_attention.models.settings import settings_of
from lost_in_attention.residual.baselines import noise_qkv, noise_update
from lost_in_attention.residual.controls import Noise, Resized, Rotated
from lost_in_attention.residual.measure import measure
from lost_in_attention.residual.readings import readings_of_batch
from lost_in_attention.residual.rope_tolerance import rope_tolerance
from lost_in_attention.residual.sink_effect import measure_sinks
from lost_in_attention.residual.value_average import output_against_values
from lost_in_attention.trace import trace
from lost_in_attention.training import TrainingConfig, train


@pytest.fixture(autouse=True)
def on_accelerator():
    with accelerator():
        yield


CASES = [("small-qwen2.5-vl", 1), ("small-llava-next", 2)]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0]}-on-{case[1]}")
def vlm(request):
    """On the accelerator, or half there and half in the processor's memory."""
    name, parts = request.param
    with accelerator():
        vlm = load(name, device=DEVICE)
        if parts == 2:
            spread(vlm.model)
        return vlm


@pytest.fixture(scope="module")
def samples():
    return list(load_benchmark("pope").draw(2, seed=1))


def test_the_pretend_device_refuses_what_a_gpu_refuses():
    here, there = torch.ones(3), torch.ones(3, device=DEVICE)
    assert there.device == DEVICE and (there + there).device == DEVICE
    assert (there * torch.tensor(2.0)).tolist() == [2, 2, 2]
    assert there[torch.tensor([0, 2])].device == DEVICE
    assert isinstance(there.to(torch.float64), AcceleratorTensor)
    assert not isinstance(there.cpu(), AcceleratorTensor)
    mixing = [
        lambda: here + there,
        lambda: torch.cat([here, there]),
        lambda: there.masked_fill(here > 0, 0),
        lambda: torch.where(there > 0, here, there),
        lambda: here[there > 0],
        lambda: torch.nn.functional.linear(there, here[None]),
    ]
    for operation in mixing:
        with pytest.raises(RuntimeError, match="tensors on different devices"):
            operation()
    for reading in (there.numpy, lambda: np.asarray(there)):
        with pytest.raises(TypeError, match="NumPy"):
            reading()


def test_the_model_lies_there(vlm):
    assert vlm.device == DEVICE
    tensors = [*vlm.model.parameters(), *vlm.model.buffers()]
    if len(vlm.devices) == 1:
        assert all(isinstance(tensor, AcceleratorTensor) for tensor in tensors)
    else:
        assert vlm.devices == (DEVICE, torch.device("cpu"))
        asked = settings_of(vlm, list(load_benchmark("pope")[:1]), 1)
        assert asked["device"] == "2 cuda"


def test_measuring(vlm, samples):
    controls = {"noise": Noise(0), "small": Resized(0.3), "turned": Rotated(0.3, seed=1)}
    there = measure(vlm, samples, controls=controls)
    here = measure(load(vlm.name), samples, controls=controls)
    for quantity in ("rid", "mixig"):
        np.testing.assert_allclose(there[quantity], here[quantity], atol=1e-3)
    measure(vlm, samples, tokens="visual", rank_rule=ExplainedEnergy(0.9))
    for baseline in (noise_update, noise_qkv):
        with baseline(vlm, seed=0) as noisy:
            measure(noisy, samples)
    rope_tolerance(vlm, samples)
    output_against_values(vlm, samples)
    readings_of_batch(vlm, samples)


def test_sinks(vlm, samples):
    there, here = (measure_sinks(each, samples, seed=0) for each in (vlm, load(vlm.name)))
    for name in ("carriers", "attention"):
        one, other = (getattr(each, name).select_dtypes("number") for each in (there, here))
        np.testing.assert_allclose(one, other, atol=1e-3)


def test_answering(vlm, samples):
    there = evaluate(vlm, samples, benchmark="pope")
    assert (
        there["reply"].tolist()
        == evaluate(load(vlm.name), samples, benchmark="pope")["reply"].tolist()
    )


def test_replacing_attention(vlm, samples):
    variants = presets(family_of(vlm), depth=len(vlm.layers), noise_seeds=1)
    there = answer_under(vlm, samples, benchmark="pope", variants=variants)
    here = answer_under(load(vlm.name), samples, benchmark="pope", variants=variants)
    assert there["reply"].tolist() == here["reply"].tolist()
    prior_entropies(vlm, samples, seed=0)


@pytest.mark.parametrize("weights", ["mean", "heads", "rollout"])
def test_tracing(vlm, samples, weights):
    there = trace(vlm, samples, weights=weights).edges
    here = trace(load(vlm.name), samples, weights=weights).edges
    assert len(there) == pytest.approx(len(here), rel=0.01)
    inputs = vlm.prepare([s.images for s in samples], [s.prompt for s in samples])
    patch_boxes(vlm, inputs, [sample.image for sample in samples])


def test_training_and_going_on_with_it(tmp_path):
    config = TrainingConfig(
        name="short", alignment_steps=1, alignment_batch=2, looking_steps=1, plain_steps=1,
        decoder_steps=2, decoder_batch=2, decoder_scenes=4, words_steps=1, joint_steps=1,
        joint_batch=2,
    )  # fmt: skip
    trained = train(config, runs=tmp_path, device=str(DEVICE))
    again = train(config, runs=tmp_path, device=str(DEVICE))
    assert trained.device == again.device == DEVICE
    weights = zip(trained.model.parameters(), again.model.parameters(), strict=True)
    assert all(torch.equal(*pair) for pair in weights)
