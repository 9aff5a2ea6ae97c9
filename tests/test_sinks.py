"""Massive activations: found where they were put, nowhere else, and left out on request."""

import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lost_in_attention.benchmarks import load_benchmark
from lost_in_attention.models import load
from lost_in_attention.residual.measure import measure
from lost_in_attention.residual.sinks import LEAST, TIMES_MEDIAN, massive_activations, sink_tokens
from standins import writing_a_sink

PLACE, FEATURE, LAYER = 2, 5, 3


@pytest.fixture(scope="module")
def vlm():
    return load("small-llava")


@pytest.fixture(scope="module")
def samples():
    return list(load_benchmark("pope").draw(3, seed=0))


@pytest.fixture
def sinking(vlm):
    """The model with one FFN that writes a massive activation on the third token of a prompt."""
    with writing_a_sink(vlm, layer=LAYER, place=PLACE, feature=FEATURE) as written:
        yield written


@settings(deadline=None)
@given(st.integers(0, 3), st.integers(0, 15), st.floats(0.01, 100), st.integers(0, 2**31))
def test_a_feature_beyond_both_limits_makes_a_sink(token, feature, scale, seed):
    hidden = scale * torch.randn(2, 4, 16, generator=torch.Generator().manual_seed(seed))
    not_padding = torch.tensor([[True] * 4, [False, True, True, True]])
    assert not massive_activations(hidden, not_padding).any()
    median = hidden[0].abs().median()
    limit = max(LEAST, TIMES_MEDIAN * float(median))
    hidden[:, token, feature] = -1.5 * limit
    found = massive_activations(hidden, not_padding)
    assert found[0].tolist() == [index == token for index in range(4)]
    assert not found[~not_padding].any()


def test_a_small_state_has_none_however_its_features_differ():
    hidden = torch.full((1, 4, 16), 1e-6)
    hidden[0, 1, 1] = 0.9 * LEAST
    assert not massive_activations(hidden, torch.ones(1, 4, dtype=torch.bool)).any()


def test_padding_does_not_move_the_median():
    hidden = torch.ones(1, 4, 16)
    hidden[0, 3, 0] = 1.1 * TIMES_MEDIAN
    padded = torch.cat([torch.full((1, 90, 16), 50.0), hidden], 1)
    mask = torch.arange(94)[None] >= 90
    assert massive_activations(padded, mask).nonzero().tolist() == [[0, 93]]


def test_the_small_models_have_none(vlm, samples):
    inputs = vlm.prepare([s.images for s in samples], [s.prompt for s in samples])
    assert not sink_tokens(vlm, inputs).any()
    kept, every = (measure(vlm, samples, tokens=t) for t in ("without sinks", "all"))
    pd.testing.assert_frame_equal(kept, every)


def test_a_sink_that_a_layer_writes_is_found_and_left_out(sinking, samples):
    inputs = sinking.prepare([samples[0].images], [samples[0].prompt])
    assert sink_tokens(sinking, inputs).nonzero().tolist() == [[0, PLACE]]
    rows = {t: measure(sinking, samples[:1], tokens=t) for t in ("all", "without sinks")}
    (every,), (kept,) = (table["tokens"].unique() for table in rows.values())
    assert kept == every - 1
    ffn = f"layer == {LAYER} and module == 'ffn'"
    written = [table.query(ffn)["rid"].item() for table in rows.values()]
    assert written[0] > 2 * written[1]
