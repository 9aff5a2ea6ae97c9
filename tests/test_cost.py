"""What jobs cost before they run: counts that are the code's, and sums that add up."""

from collections import Counter

import pytest
import torch

from lost_in_attention.benchmarks import load_benchmark
from lost_in_attention.evaluation.cost import (
    CORE,
    DECOMPOSITIONS,
    GPU,
    PASSES,
    TOKENS,
    Cost,
    Shape,
    answering,
    measuring,
    tracing,
)
from lost_in_attention.evaluation.grid import ablations, presets
from lost_in_attention.evaluation.measurements import MEASUREMENTS
from lost_in_attention.models import load
from lost_in_attention.models.families import KEYS

SEVEN = Shape("qwen2.5-vl", 7.0, 28, 3584)


@pytest.fixture(scope="module")
def counted():
    """Of each measurement of one question: forward passes, and decompositions by update."""
    vlm, found = load("small-llava"), {}
    samples, calls = list(load_benchmark("pope").draw(1, seed=0)), Counter()
    vlm.layers[0].register_forward_pre_hook(lambda *_: calls.update(["pass"]))
    with pytest.MonkeyPatch.context() as patch:
        real = torch.linalg.eigvalsh
        patch.setattr(torch.linalg, "eigvalsh", lambda x: calls.update(["values"]) or real(x))
        for name, make in MEASUREMENTS.items():
            calls.clear()
            make("pope").rows(vlm, samples, 0)
            found[name] = calls["pass"], calls["values"] / (2 * len(vlm.layers))
    return found


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_passes_and_decompositions_are_those_that_a_measurement_makes(counted, name):
    passes, decompositions = counted[name]
    assert passes == PASSES[name]
    # The first state belongs to no update.
    assert decompositions == pytest.approx(DECOMPOSITIONS[name], rel=0.1)


def test_every_family_has_its_tokens():
    assert TOKENS.keys() == set(KEYS)


@pytest.mark.parametrize("machine", [GPU, CORE])
def test_twice_the_questions_cost_twice_as_much_but_for_loading(machine):
    def kinds(n):
        yield measuring(SEVEN, "updates", n, machine)
        yield answering(SEVEN, "default", n, machine=machine)

    for none, one, two in zip(kinds(0), kinds(100), kinds(200), strict=True):
        assert none.hours > 0 and none.disk == 0
        assert two.hours - none.hours == pytest.approx(2 * (one.hours - none.hours))
        assert two.disk == pytest.approx(2 * one.disk)


def test_a_larger_model_a_longer_reply_and_a_larger_grid_cost_more():
    large = Shape("qwen2.5-vl", 32.0, 64, 5120)
    assert measuring(large, "updates", 10).hours > measuring(SEVEN, "updates", 10).hours
    counts = {"cases": 2, "questions": 10, "counted": 1}
    assert tracing(large, **counts).hours > tracing(SEVEN, **counts).hours
    plain, reasoned = (answering(SEVEN, "default", 9, prompt=p) for p in ("plain", "reasoning"))
    assert reasoned.hours > 2 * plain.hours and reasoned.disk == plain.disk


def test_a_grid_has_as_many_replies_as_variants():
    grids = {"default": presets("llava", depth=32, noise_seeds=3)}
    grids |= {"ablations": ablations("llava", depth=32)}
    shape = Shape("llava", 7.0, 32, 4096)
    for grid, variants in grids.items():
        cost, none = answering(shape, grid, 1000), answering(shape, grid, 0)
        prefill = 2 * 7e9 * shape.tokens / GPU.operations
        assert (cost.hours - none.hours) * 3600 > len(variants) * 1000 * prefill
        assert (cost.hours - none.hours) * 3600 < len(variants) * 1000 * prefill * 3


def test_weights_in_bfloat16_and_what_fits_beside_them():
    assert SEVEN.download == 14.0
    assert SEVEN.batch_size == 16 > Shape("qwen2.5-vl", 32.0, 64, 5120).batch_size >= 1
    assert Shape("llava", 70.0, 80, 8192).batch_size == 1


def test_costs_add_up():
    assert Cost(1.0, 2.0) + Cost(0.5, 0.25) == Cost(1.5, 2.25)
