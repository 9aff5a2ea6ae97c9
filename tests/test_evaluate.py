"""Evaluation: one row a question, unparsed replies counted wrong, bad input refused first."""

import pytest

from lost_in_attention import evaluate as module
from lost_in_attention.benchmarks import load_benchmark
from lost_in_attention.models import load


@pytest.fixture(scope="module")
def vlm():
    return load("small-qwen2.5-vl")


@pytest.fixture(scope="module")
def samples():
    return load_benchmark("pope").draw(7, seed=2)


def test_one_row_a_question_in_order(vlm, samples):
    table = module.evaluate(vlm, samples, benchmark="pope", batch_size=3)
    assert table["sample"].tolist() == [s.id for s in samples]
    assert (table["correct"] == (table["parsed"] == table["answer"])).all()
    assert (table["model"] == "small-qwen2.5-vl").all()


def test_an_unparsed_reply_is_none_and_wrong(vlm, samples, monkeypatch):
    monkeypatch.setattr(module, "replies", lambda vlm, batch, limit: ["perhaps"] * len(batch))
    table = module.evaluate(vlm, samples, benchmark="pope")
    assert table["parsed"].isna().all() and not table["correct"].any()


def test_bad_arguments_are_refused_before_the_model_runs(vlm, samples, monkeypatch):
    monkeypatch.setattr(module, "replies", lambda *args: pytest.fail("the model ran"))
    with pytest.raises(ValueError, match="benchmark: expected one of .* got 'vqa'"):
        module.evaluate(vlm, samples, benchmark="vqa")
    with pytest.raises(ValueError, match="samples: expected at least one"):
        module.evaluate(vlm, [], benchmark="pope")
