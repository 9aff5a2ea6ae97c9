"""What sinks draw under a plan: the formula's rows, and nothing else in the model moves."""

import pandas as pd
import pytest
import torch

from lost_in_attention.benchmarks import load_benchmark
from lost_in_attention.models import load
from lost_in_attention.models.decoder_attention import reading_attention
from lost_in_attention.residual.sink_attention import queries_behind
from lost_in_attention.sap import SharedAttentionPrior
from lost_in_attention.sap.priors import uniform_prior
from lost_in_attention.sap.sink_shares import sink_change, sink_shares
from standins import writing_a_sink

# The sink's token, the feature and the layer that writes it; the layer that is replaced.
PLACE, FEATURE, WRITTEN, LAYER = 0, 10, 2, 5


@pytest.fixture(scope="module")
def samples():
    return list(load_benchmark("pope").draw(2, seed=0))


@pytest.fixture(scope="module")
def sinking():
    """A model with one FFN that writes a massive activation on the first token."""
    with writing_a_sink(
        load("small-llava"), layer=WRITTEN, place=PLACE, feature=FEATURE
    ) as written:
        yield written


def shares_by_hand(vlm, sample):
    """Each head's mean weight on the sink, own and with uniform visual scores."""
    inputs = vlm.prepare([sample.images], [sample.prompt])
    seen, everything = [], inputs["attention_mask"].bool()
    with torch.inference_mode(), reading_attention(vlm, everything, seen.append):
        vlm.model.model(**inputs, use_cache=False)
    (layer,) = [each for each in seen if each.layer == LAYER]
    visual = vlm.visual_mask(inputs)[0]
    rows = queries_behind({"visual": visual}, len(visual))
    key = layer.key.repeat_interleave(len(layer.query) // len(layer.key), 0)
    own = (layer.query @ key.mT).float() * layer.scaling
    flat = own.clone()
    flat[:, :, visual] = uniform_prior(int(visual.sum()))
    causal = torch.ones(own.shape[1:], dtype=torch.bool).tril()
    for scores in (own, flat):
        yield scores.masked_fill(~causal, -torch.inf).softmax(-1)[:, rows, PLACE].mean(1)


@pytest.mark.parametrize("column", ["own", "replaced"])
def test_shares_are_those_of_the_formula(sinking, samples, column):
    table = sink_shares(sinking, samples, SharedAttentionPrior("uniform", (LAYER, LAYER)))
    for asked in samples:
        rows = table[table["sample"] == asked.id]
        expected = dict(zip(["own", "replaced"], shares_by_hand(sinking, asked), strict=True))
        by_head = expected[column][rows["head"].to_list()]
        assert rows[column].to_list() == pytest.approx(by_head.tolist(), rel=1e-4, abs=1e-6)
        assert (rows["own"] - rows["replaced"]).abs().max() > 0.02


def test_heads_are_those_of_the_band(sinking, samples):
    plan = SharedAttentionPrior("uniform", (LAYER, LAYER), heads=(0.0, 0.5))
    chosen = len(plan.ranks(sinking.decoder.config.num_attention_heads))
    table = sink_shares(sinking, samples, plan)
    assert list(table.groupby("sample").size()) == [chosen] * len(samples)


def test_a_model_without_sinks_has_no_rows(samples):
    plan = SharedAttentionPrior("uniform", (LAYER, LAYER))
    table = sink_shares(load("small-llava"), samples, plan)
    assert not len(table) and list(table)[-2:] == ["own", "replaced"]


def test_the_model_is_left_as_it_was(sinking, samples):
    plan = SharedAttentionPrior("uniform", (1, LAYER))
    inputs = sinking.prepare([samples[0].images], [samples[0].prompt])
    with torch.inference_mode():
        before = sinking.model(**inputs).logits
        sink_shares(sinking, samples, plan)
        assert torch.equal(sinking.model(**inputs).logits, before)


def test_layers_that_the_model_has_not_are_refused(sinking, samples):
    with pytest.raises(ValueError, match="plan: expected layers within"):
        sink_shares(sinking, samples, SharedAttentionPrior("uniform", (0, 99)))


def test_the_change_is_a_mean_over_heads_and_then_over_questions():
    shares = pd.DataFrame(
        {
            "sample": ["a", "a", "b"],
            "image_source": ["one", "one", "two"],
            "own": [0.5, 0.1, 0.2],
            "replaced": [0.1, 0.3, 0.2],
        }
    )
    (row,) = sink_change(shares, seed=0).to_dict("records")
    assert row["quantity"] == "sap_sink_change"
    assert row["mean"] == pytest.approx((0.3 + 0.0) / 2)
    assert not len(sink_change(shares[:0], seed=0))
