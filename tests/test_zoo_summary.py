"""Several models' tables: which models, gaps between modules, and one answer of all."""

import pandas as pd
import pytest

from lost_in_attention.zoo import (
    chosen_models,
    in_words,
    intervals,
    module_gaps,
    over_layers,
    side_of,
    unanimous,
)


@pytest.fixture
def measured():
    """Two models, three images of one question each, two layers; FFN is 1 or 2 above attention."""
    return pd.DataFrame(
        {"model": model, "sample": f"q{image}", "image_source": f"i{image}", "layer": layer,
         "module": module, "rid": image + layer + above * (module == "ffn")}
        for model, above in (("a", 1.0), ("b", 2.0))
        for image in range(3)
        for layer in range(2)
        for module in ("attention", "ffn")
    )  # fmt: skip


def test_the_zoo_is_what_the_repository_holds():
    assert "small-qwen2.5-vl" in chosen_models("zoo")
    assert chosen_models(" small-qwen2.5-vl ,a/b") == ["small-qwen2.5-vl", "a/b"]


@pytest.mark.parametrize("models", ["", "a/b,", "a/b, a/b"])
def test_a_list_with_gaps_or_repeats_is_refused(models):
    with pytest.raises(ValueError, match="models: expected 'zoo' or different names"):
        chosen_models(models)


def test_an_unknown_model_is_refused_early():
    with pytest.raises(FileNotFoundError, match="got 'small-nothing'"):
        chosen_models("small-qwen2.5-vl,small-nothing")


def test_means_and_sums_over_layers(measured):
    for how, factor in (("mean", 1), ("sum", 2)):
        found = over_layers(measured, ["rid"], ["model", "module"], how)
        assert len(found) == 2 * 3 * 2
        row = found.query("model == 'b' and sample == 'q2' and module == 'ffn'")
        assert row["rid"].item() == pytest.approx(factor * (2 + 0.5 + 2))


def test_gaps_are_taken_sample_by_sample(measured):
    """The gap is the same in every sample, so its interval has no width though the levels vary."""
    samples = over_layers(measured, ["rid"], ["model", "module"])
    gaps = module_gaps(samples, ["rid"], ["model"], seed=0).set_index("model")
    assert gaps["mean"].to_dict() == {"a": pytest.approx(1), "b": pytest.approx(2)}
    assert (gaps["high"] - gaps["low"]).abs().max() < 1e-12
    levels = intervals(samples, ["rid"], ["model", "module"], seed=0)
    assert (levels["high"] - levels["low"]).min() > 0.1


def test_sides_and_votes():
    assert side_of(0.1, 0.2) is True and side_of(-2, -1) is False and side_of(-1, 1) is None
    assert side_of(0.1, 0.2, border=1) is False
    assert unanimous([True, True]) is True
    assert unanimous([True, None]) is None
    assert unanimous([True, None, False]) is False
    with pytest.raises(ValueError, match="answers: expected at least one"):
        unanimous([])


def test_in_words():
    assert in_words(pd.Series({"mean": 0.12345, "low": -1, "high": 2})) == "0.123 [-1, 2]"
