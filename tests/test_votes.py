"""Several models' tables: which models, gaps between modules, and one answer of all."""

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from lost_in_attention.models import load
from lost_in_attention.models.shipped import (
    chosen_models,
    recipe_of,
    saved_steps,
    saved_weights,
    world_of,
)
from lost_in_attention.publishing.evidence import Evidence, Model
from lost_in_attention.publishing.votes import (
    ends,
    how_many,
    in_words,
    interval_table,
    labour_divided,
    means_apart,
    side_of,
    spread,
    tally,
    unanimous,
    within,
)
from lost_in_attention.residual.tables import intervals, module_gaps, over_layers


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
    held, families = chosen_models("zoo"), chosen_models("families")
    assert "small-qwen2.5-vl" in families
    assert families == sorted({recipe_of(name) for name in held})
    assert chosen_models(" small-qwen2.5-vl ,a/b") == ["small-qwen2.5-vl", "a/b"]


def test_groups_stand_among_names_and_models_in_parts_are_a_group(monkeypatch, tmp_path):
    for name, part in (("small-a", ""), ("small-a-seed1", ""), ("joined", "parts.json")):
        (tmp_path / "models" / name).mkdir(parents=True)
        for file in ("config.json", part):
            if file:
                (tmp_path / "models" / name / file).write_text("{}")
    monkeypatch.setenv("LOST_IN_ATTENTION_DATA", str(tmp_path))
    assert chosen_models("pretrained, families,a/b") == ["joined", "small-a", "a/b"]
    assert chosen_models("zoo") == ["small-a", "small-a-seed1"]
    assert [world_of(name) for name in ("joined", "small-a", "a/b")] == ["pictures", "digits", None]
    with pytest.raises(ValueError, match="different names"):
        chosen_models("families,small-a")


@pytest.mark.parametrize("models", ["", "a/b,", "a/b, a/b"])
def test_a_list_with_gaps_or_repeats_is_refused(models):
    with pytest.raises(
        ValueError, match="models: expected 'zoo', 'families', 'pretrained' or different"
    ):
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


def test_a_number_is_met_by_the_whole_interval():
    assert within(0.9, 1.1, 1, 0.1) is True and within(1.2, 1.3, 1, 0.1) is False
    assert within(0.5, 0.8, 1, 0.1) is False and within(0.8, 1, 1, 0.1) is None
    assert within(float("nan"), float("nan"), 1, 0.1) is None


def test_labour_is_divided_where_both_halves_hold():
    def gaps(rid, mixig):
        rows = {"rid": rid, "mixig": mixig}
        return pd.DataFrame(
            {"model": "m", "quantity": q, "low": low, "high": high}
            for q, (low, high) in rows.items()
        )

    for rid, mixig, wanted in [
        ((1, 2), (-2, -1), [True, True, True]),
        ((1, 2), (1, 2), [True, False, False]),
        ((-1, 2), (-2, -1), [None, True, None]),
        ((-2, -1), (-1, 1), [False, None, False]),
        ((float("nan"), float("nan")), (-2, -1), [None, True, None]),
    ]:
        assert labour_divided(gaps(rid, mixig)).loc["m"].tolist() == wanted


def test_in_words():
    assert in_words(pd.Series({"mean": float("nan"), "low": 0, "high": 0})) == "no value"
    assert in_words(pd.Series({"mean": 0.12345, "low": -1, "high": 2})) == "0.123 [-1, 2]"
    assert in_words(pd.Series({"mean": 3e-14, "low": -1e-15, "high": 2e-8})) == "0 [0, 2e-08]"


def test_the_means_of_one_kind_of_subject_are_told_with_the_sides_of_their_intervals():
    nan = float("nan")
    rows = [(1.0, 0.5, 2.0), (3.0, -1.0, 4.0), (-2.0, -3.0, -1.0), (5.0, nan, nan), (nan, 0, 1)]
    means = pd.DataFrame(rows, columns=["mean", "low", "high"])
    assert spread(means[:1]) == "1 [0.5, 2]"
    assert spread(means) == "-2 to 5 (1 above 0, 1 below 0, 2 open)"
    assert spread(means, border=None) == "-2 to 5"
    assert spread(means[:3], border=0.7) == "-2 to 3 (1 below 0.7, 2 open)"
    assert spread(means[4:]) == spread(pd.concat([means[4:]] * 2)) == "no value"
    assert ends(means["mean"]) == "-2 to 5"
    assert ends(pd.Series([0.061, 0.064]), ".0%") == "6%"


def test_a_table_of_means_with_their_intervals():
    means = pd.DataFrame({"model": list("ab"), "module": "ffn", "mean": [1.0, 2.0]})
    table = interval_table(means.assign(low=0, high=3), "model", "module")
    assert table["ffn"].to_dict() == {"a": "1 [0, 3]", "b": "2 [0, 3]"}


def test_a_tally_parts_pretrained_and_small_models():
    evidence = Evidence({"p": Model(None, "pretrained"), "control": Model(None)})
    evidence.models |= {name: Model(None, "small") for name in "abcd"}
    small = dict(zip("abcd", [True, None, True, True], strict=True))
    assert tally(small | {"p": True}, evidence) == "pretrained: yes; small: 3 yes, 1 open"
    assert tally({"a": False, "b": False}, evidence) == "small: 2 no"
    assert tally({"control": None, "p": False}, evidence) == "pretrained: no; other: open"
    assert tally({"nobody": True, "control": True}, evidence) == "other: 2 yes"
    assert tally({}, evidence) == "no model asked"


def test_only_a_clear_yes_is_counted():
    evidence = Evidence({"p": Model(None, "pretrained"), "a": Model(None, "small")})
    evidence.models |= {name: Model(None, "small") for name in "bc"}
    answers = {"a": True, "p": False, "b": None, "c": True}
    assert how_many(answers, evidence) == "2 of 3 small models, not the pretrained one"
    assert how_many(answers | {"p": True}, evidence) == "the pretrained and 2 of 3 small models"
    assert how_many({"p": True}, evidence) == "the pretrained model"
    assert how_many({"b": None, "a": False}, evidence) == "none of 2 models"
    assert how_many({}, evidence) == "no model asked"


def test_means_of_one_kind_are_told_together():
    evidence = Evidence(
        {name: Model(None, "small") for name in "abc"} | {"p": Model(None, "pretrained")}
    )
    means = pd.DataFrame({"model": list("bapc"), "mean": [0.2, -0.1, 0.5, 0.15]})
    means = means.assign(low=means["mean"] - 0.1, high=means["mean"] + 0.1)
    assert means_apart(means, evidence) == "pretrained: 0.5 [0.4, 0.6]; small: -0.1 to 0.2"
    assert means_apart(means[:1], evidence) == "small: 0.2 [0.1, 0.3]"


def test_seeds_of_one_recipe():
    assert recipe_of("small-llava-seed12") == recipe_of("small-llava") == "small-llava"
    assert recipe_of("a/seed1-model") == "a/seed1-model"


def test_saved_steps_are_in_order_and_the_last_is_the_model():
    """The last step's weights are the shipped ones, up to bf16; the first step's are others."""
    steps = saved_steps("small-qwen2.5-vl")
    assert list(steps) == sorted(steps) and len(steps) > 1
    vlm = load("small-qwen2.5-vl")
    shipped = {key: value.clone() for key, value in vlm.model.state_dict().items()}
    last = max(steps)
    for step in (min(steps), last):
        with saved_weights(vlm, steps[step]) as early:
            now = early.model.state_dict()
            equal = all(torch.equal(now[k].bfloat16(), shipped[k].bfloat16()) for k in shipped)
        assert equal == (step == last)
        assert all(torch.equal(now[k], shipped[k]) for k in shipped)
    assert vlm.model.dtype == torch.float32


def test_weights_that_do_not_fit_are_refused(tmp_path):
    vlm = load("small-qwen2.5-vl")
    shipped = {key: value.clone() for key, value in vlm.model.state_dict().items()}
    weights = load_file(saved_steps("small-qwen2.5-vl")[0])
    name = next(iter(weights))
    changes = {
        "missing": {key: value for key, value in weights.items() if key != name},
        "unknown": weights | {"extra": torch.zeros(1)},
        "size mismatch": weights | {name: torch.zeros(1, 1)},
    }
    for message, changed in changes.items():
        save_file(changed, tmp_path / "step-00000.safetensors")
        fits = f"does not fit small-qwen2.5-vl.*(?s:.*){message}"
        with (
            pytest.raises(ValueError, match=fits),
            saved_weights(vlm, tmp_path / "step-00000.safetensors"),
        ):
            pass
        now = vlm.model.state_dict()
        assert all(torch.equal(now[key], shipped[key]) for key in shipped)


def test_a_model_without_saved_steps_is_named():
    with pytest.raises(FileNotFoundError, match=r"one of \['small-qwen2.5-vl.*got 'small-nothing'"):
        saved_steps("small-nothing")
