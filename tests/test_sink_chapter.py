"""The chapter on the sink: its tables, its account of RID, its predictions."""

import re
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import ROOT
from decoders import save_small_decoder
from lost_in_attention.benchmarks import load_benchmark
from lost_in_attention.evaluation.sink_store import (
    SinkRun,
    drawn,
    measured_again,
    read_replaced,
    read_sinks,
    replaced_by,
    sinks_folder,
)
from lost_in_attention.models import load
from lost_in_attention.models.text_decoder import load_text_decoder
from lost_in_attention.publishing.predictions import AWAITED, Prediction, compared, predictions
from lost_in_attention.residual.depth import layer_weights
from lost_in_attention.residual.head_groups import between_groups, chance_of_groups
from lost_in_attention.residual.measure import measure
from lost_in_attention.residual.measurements import own_updates
from lost_in_attention.residual.sink_attention import attention_shares, share_among
from lost_in_attention.residual.sink_effect import measure_sinks
from lost_in_attention.residual.sink_parts import (
    KEPT_PARTS,
    PARTS,
    Phases,
    gap_parts,
    phases,
    shares,
)
from lost_in_attention.residual.sink_quantities import sink_quantities
from lost_in_attention.residual.sinks import as_many_others
from lost_in_attention.residual.tables import intervals
from lost_in_attention.runs.tables import read_table, write_table
from lost_in_attention.sap.sink_shares import sink_change
from lost_in_attention.texts import passages

# --- The control ----------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.integers(0, 3), st.integers(0, 2**31))
def test_as_many_others_are_drawn_among_the_others(count, padding, seed):
    sinks = torch.zeros(2, 12, dtype=torch.bool)
    sinks[:, padding : padding + count] = True
    not_padding = torch.arange(12).expand(2, 12) >= padding
    found = as_many_others(sinks, not_padding, seed=seed)
    assert found.sum(1).tolist() == [count, count]
    assert not (found & (sinks | ~not_padding)).any()
    # Neither padding nor the other samples of a batch decide what is drawn.
    alone = as_many_others(sinks[:1, padding:], not_padding[:1, padding:], seed=seed)
    assert alone[0].tolist() == found[1, padding:].tolist()


def test_tables_of_two_runs_are_refused(tmp_path):
    place = sinks_folder("smollm2")
    shutil.copytree(place, tmp_path / "smollm2")
    table, facts = read_table(place / "carriers.parquet")
    write_table(tmp_path / "smollm2" / "carriers.parquet", table, facts | {"seed": 99})
    with pytest.raises(ValueError, match="results: expected tables of one run .* got 'carriers'"):
        read_sinks("smollm2", tmp_path)


def test_what_cannot_be_drawn_is_refused():
    all_sinks = torch.ones(1, 4, dtype=torch.bool)
    with pytest.raises(ValueError, match="sinks: expected at most half of the tokens, got 4"):
        as_many_others(all_sinks, all_sinks, seed=0)
    with pytest.raises(ValueError, match="seed: expected 0 or more, got -1"):
        as_many_others(~all_sinks, all_sinks, seed=-1)


# --- Attention ------------------------------------------------------------------------------


def mask(*places, tokens=4):
    return torch.tensor([place in places for place in range(tokens)])


def test_shares_of_a_map_whose_answer_is_known():
    weights = torch.tensor(
        [[1, 0, 0, 0], [0.9, 0.1, 0, 0], [0.6, 0.3, 0.1, 0], [0.2, 0.5, 0.2, 0.1]]
    )
    found = attention_shares(weights, {"sinks": mask(0), "visual": mask(1), "none": mask()})
    # Queries behind both: the last two.
    assert found == pytest.approx({"sinks": 0.4, "visual": 0.4, "none": 0.0})
    assert attention_shares(weights, {"sinks": mask(0)})["sinks"] == pytest.approx(1.7 / 3)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 4))
def test_what_keys_and_the_rest_draw_adds_up(seed, first):
    scores = torch.randn(6, 6, generator=torch.Generator().manual_seed(seed))
    weights = scores.masked_fill(torch.ones(6, 6).triu(1).bool(), -torch.inf).softmax(1)
    chosen = torch.arange(6) < first
    queries = weights[first:]
    found = attention_shares(weights, {"chosen": chosen})["chosen"]
    assert found + float(queries[:, ~chosen].sum(1).mean()) == pytest.approx(1, abs=1e-6)


def test_shares_without_a_query_behind_are_missing_and_strange_rows_refused():
    assert np.isnan(attention_shares(torch.eye(4), {"last": mask(3)})["last"])
    with pytest.raises(ValueError, match="weights: expected rows that sum to 1, got 0.5 to 0.5"):
        attention_shares(torch.eye(4) / 2, {"first": mask(0)})


def test_what_tokens_give_each_other():
    weights = torch.tensor([[1.0, 0, 0], [0.5, 0.5, 0], [0.7, 0.2, 0.1]])
    # Row 1 gives half to itself, row 2 a fifth to row 1 and a tenth to itself.
    assert share_among(weights, mask(1, 2, tokens=3)) == pytest.approx((0.5 + 0.3) / 2)
    assert share_among(weights, mask(0, tokens=3)) == 1
    assert np.isnan(share_among(weights, mask(tokens=3)))


def test_groups_explain_all_or_nothing():
    groups = np.repeat([0, 1, 2], 3)
    by_group, within = groups[None] * 1.0, np.tile([0.0, 1, 2], 3)[None]
    assert between_groups(by_group, groups) == pytest.approx([1])
    assert between_groups(within, groups) == pytest.approx([0])
    assert between_groups(np.zeros((1, 9)), groups).tolist() == [0]
    assert chance_of_groups(within, groups, seed=0) == 1
    assert chance_of_groups(np.repeat(by_group, 4, 0), groups, seed=0) < 0.01
    random = np.random.default_rng(0).standard_normal((4000, 9))
    assert between_groups(random, groups).mean() == pytest.approx(2 / 8, abs=0.02)
    with pytest.raises(
        ValueError, match=r"groups: expected several of one size, got sizes \[2, 1\]"
    ):
        between_groups(np.zeros((1, 3)), np.array([0, 0, 1]))


# --- The account of RID ---------------------------------------------------------------------


def toy_carriers(*with_sink):
    rows = [
        {"sample": s, "image_source": s, "layer": layer, "module": module, "massive": int(here)}
        for s in "ab"
        for layer in range(4)
        for module in ("attention", "ffn")
        for here in [(layer, module) in with_sink]
    ]
    return pd.DataFrame(rows)


def test_a_sink_is_written_carried_and_taken_away():
    states = [(1, "ffn"), (2, "attention"), (2, "ffn"), (3, "attention")]
    assert phases(toy_carriers(*states)) == Phases(1, 3)
    assert [Phases(1, 3).of(layer) for layer in range(4)] == [
        "before", "written", "carried", "removed",
    ]  # fmt: skip
    assert phases(toy_carriers(*states, (3, "ffn"))) == Phases(1, None)
    assert phases(toy_carriers()) == Phases(None, None)
    one = toy_carriers(*states)
    assert phases(one.assign(massive=one["massive"] * (one["sample"] == "a"))) == Phases(None, None)


def toy_updates(seed):
    """Random sizes and novelties of two samples in four layers, RID made of them."""
    random = np.random.default_rng(seed)
    rows = [
        {"rows": rows, "update": update, "sample": s, "image_source": s, "layer": layer,
         "module": module, "size": random.random(), "token_novelty": 0.0,
         "feature_novelty": random.random(), "spectrum_change": random.random()}
        for s in "ab" for layer in range(4) for module in ("attention", "ffn")
        for rows, update in (("all", "own"), ("without sinks", "own"), ("without sinks", "resized"))
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    innovation = table["size"] * table["feature_novelty"] / 2
    return table.assign(support_innovation=innovation, rid=innovation + table["spectrum_change"])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31))
def test_the_parts_add_up(seed):
    updates = toy_updates(seed)
    parts = gap_parts(updates, toy_carriers((1, "ffn"), (2, "attention"), (2, "ffn")))
    np.testing.assert_allclose(parts[list(PARTS)].sum(axis=1), parts["gap"], atol=1e-12)
    np.testing.assert_allclose(parts[list(KEPT_PARTS)].sum(axis=1), parts["kept"], atol=1e-12)
    np.testing.assert_allclose(parts["cut"], 0, atol=1e-12)


def test_parts_of_updates_whose_answer_is_known():
    """Equal novelty: all is size.  Equal size: all is novelty.  The sink's row is one layer's."""
    updates = toy_updates(0).assign(spectrum_change=0.1)
    ffn = updates["module"] == "ffn"
    sizes = updates.assign(size=np.where(ffn, 0.6, 0.2), feature_novelty=0.5)
    news = updates.assign(size=0.4, feature_novelty=np.where(ffn, 0.9, 0.4))
    for table, part, value in ((sizes, "size", 0.4 * 0.5 / 2), (news, "novelty", 0.4 * 0.5 / 2)):
        innovation = table["size"] * table["feature_novelty"] / 2
        table = table.assign(support_innovation=innovation, rid=innovation + 0.1)
        sunk = (table["rows"] == "all") & ffn & (table["layer"] == 1)
        table.loc[sunk, "rid"] += 1.0
        parts = gap_parts(table, toy_carriers((1, "ffn"), (2, "attention"), (2, "ffn")))
        assert parts[part].tolist() == pytest.approx([value, value])
        assert parts["kept"].tolist() == pytest.approx([value, value])
        assert parts["sink written"].tolist() == pytest.approx([layer_weights(4)[1]] * 2)
        assert parts["gap"].tolist() == pytest.approx(
            (parts["kept"] + parts["sink written"]).tolist()
        )


def test_parts_of_half_a_table_are_refused():
    half = toy_updates(0).query("module == 'ffn' or layer > 0")
    with pytest.raises(ValueError, match="updates: expected attention and FFN of every sample"):
        gap_parts(half, toy_carriers())


def test_shares_are_ratios_of_means():
    parts = pd.DataFrame({"gap": [1.0, 3.0], "part": [1.0, 1.0], "image_source": ["a", "b"]})
    row = shares(parts, ["part"], seed=0).iloc[0]
    assert row["mean"] == 0.5
    assert row["low"] == pytest.approx(1 / 3) and row["high"] == 1


# --- Measuring ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def vlm():
    return load("small-llava")


@pytest.fixture(scope="module")
def samples():
    return list(load_benchmark("pope").draw(2, seed=0))


def test_a_model_that_sees_is_measured_as_measure_does(vlm, samples):
    tables = measure_sinks(vlm, samples, batch_size=2)
    assert set(tables.updates["rows"]) == {"all"}
    own = tables.updates[tables.updates["update"] == "own"]
    usual = measure(vlm, samples, batch_size=2)
    np.testing.assert_array_equal(own["rid"], usual["rid"].astype("float32"))
    assert len(tables.carriers) == 2 * (2 * len(vlm.layers) + 1)
    assert tables.attention["visual"].between(0.01, 1).all()
    assert (tables.attention["sinks"] == 0).all() and (tables.carriers["massive"] == 0).all()
    assert phases(tables.carriers) == Phases(None, None)
    found = sink_quantities(tables, seed=0).set_index("quantity")
    assert {"gap", "equal_size", "visual_massive"} <= set(found.index)
    assert "control_gap" not in found.index


def test_a_sink_is_left_out_and_so_is_another(vlm, samples):
    def write(module, args, output):
        output = output.clone()
        output[:, 2, 5] += 1e7
        return output

    handle = vlm.layers[3].mlp.register_forward_hook(write)
    try:
        tables = measure_sinks(vlm, samples[:1])
        kept = measure(vlm, samples[:1], tokens="without sinks")
    finally:
        handle.remove()
    own = tables.updates[tables.updates["update"] == "own"]
    by_rows = {name: rows for name, rows in own.groupby("rows")}
    np.testing.assert_array_equal(by_rows["without sinks"]["rid"], kept["rid"].astype("float32"))
    tokens = {name: rows["tokens"].unique().tolist() for name, rows in by_rows.items()}
    [every] = tokens["all"]
    assert tokens["without sinks"] == tokens["without others"] == [every - 1]
    written = own.query("layer == 3 and module == 'ffn'").set_index("rows")["rid"]
    assert written["all"] > 2 * written["without sinks"]
    assert written["without others"] == pytest.approx(written["all"], rel=0.05)
    carrier = tables.carriers.query("layer == 3 and module == 'ffn'").iloc[0]
    assert (carrier["position"], carrier["feature"], carrier["massive"]) == (2, 5, 1)


@pytest.fixture(scope="module")
def decoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("decoder")
    save_small_decoder(folder)
    return load_text_decoder(str(folder))


def test_padding_changes_nothing_in_a_decoder_by_itself(decoder):
    texts = passages(words=15)[:3]
    usual = decoder.decoder.config._attn_implementation
    together = measure_sinks(decoder, texts, batch_size=3)
    assert decoder.decoder.config._attn_implementation == usual
    alone = measure_sinks(decoder, texts)
    for name in ("carriers", "attention"):
        keys = ["sample", "layer", "module" if name == "carriers" else "head"]
        one, other = (
            getattr(each, name).sort_values(keys).reset_index(drop=True)
            for each in (together, alone)
        )
        pd.testing.assert_frame_equal(one, other, atol=1e-4, rtol=1e-3)
    assert together.attention["first"].between(0, 1).all()


def test_bad_requests_are_refused(vlm, samples):
    with pytest.raises(ValueError, match="samples: expected at least one"):
        measure_sinks(vlm, [])
    with pytest.raises(ValueError, match="seed: expected 0 or more, got -1"):
        measure_sinks(vlm, samples, seed=-1)
    with pytest.raises(ValueError, match="count: expected at least 2, got 1"):
        SinkRun("smollm2", 1)
    with pytest.raises(ValueError, match="random_seed: expected none but for smollm2"):
        SinkRun("small-llava", 2, random_seed=0)
    with pytest.raises(ValueError, match="count: expected 1 to 2, got 3"):
        drawn(passages()[:2], 3, seed=0)
    with pytest.raises(FileNotFoundError, match="subject: expected one that was measured"):
        read_sinks("nobody")


def test_a_larger_draw_holds_the_smaller():
    every = passages()
    few, more = ([s.id for s in drawn(every, count, seed=1)] for count in (5, 20))
    assert set(few) < set(more)
    assert more == [s.id for s in every if s.id in more]


def test_what_is_kept_comes_back_and_is_measured_again(tmp_path):
    run = SinkRun("small-llava", 2)
    assert run.measure(tmp_path) == tmp_path / "small-llava"
    tables, facts = read_sinks("small-llava", tmp_path)
    assert facts["command"].endswith(
        "sinks --model small-llava --count 2 --seed 0 --batch-size 1 --source digits "
        "--dtype float32"
    )
    said = measured_again(tables, facts, 1)
    assert "with the same weights: 1 of 2 samples; 32 of 32 updates" in said
    assert said.endswith("by more than 0.")
    assert "layers 4-5" in facts["plan"] and "uniform" in facts["plan"]
    assert list(read_replaced("small-llava", tmp_path)) == [
        "sample", "image_source", "layer", "head", "own", "replaced",
    ]  # fmt: skip
    assert read_replaced("nobody", tmp_path) is None


def test_where_attention_cannot_be_replaced_the_rest_is_measured(tmp_path, decoder):
    eager = load("small-llava", attention="eager")
    assert replaced_by(eager) is None and replaced_by(decoder) is None
    SinkRun("small-llava", 2, attention="eager").measure(tmp_path)
    assert read_replaced("small-llava", tmp_path) is None
    assert read_sinks("small-llava", tmp_path)[1]["plan"] is None


# --- Predictions ----------------------------------------------------------------------------


def test_a_prediction_is_right_wrong_or_open():
    one = Prediction("P", "gap", 0.0, 1.0, "It lies there")
    assert [one.answer(*ends) for ends in ((0.2, 1), (1.1, 1.2), (-2, -1), (0.5, 1.5))] == [
        "right", "wrong", "wrong", "open",
    ]  # fmt: skip
    measured = pd.DataFrame([{"quantity": "gap", "mean": 0.5, "low": 0.4, "high": 0.6}])
    other = Prediction("Q", "else", 0.0, 1.0, "Nobody knows")
    assert compared([one, other], measured) == ["right: 0.5 [0.4, 0.6]", AWAITED]
    assert compared([one], None) == [AWAITED]
    with pytest.raises(ValueError, match="least, most: expected least below most in P, got"):
        Prediction("P", "gap", 1, 0, "It lies there")
    with pytest.raises(ValueError, match="quantity: expected text in prediction 'P', got none"):
        Prediction("P", " ", 0, 1, "It lies there")


# --- What the page says ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def stored():
    return read_sinks("smollm2")


@pytest.fixture(scope="module")
def numbers(stored):
    return sink_quantities(stored[0], seed=0).set_index("quantity")


def test_predictions_are_of_numbers_that_text_has_too(numbers):
    asked = {each.quantity for each in predictions("sinks-on-pictures")}
    assert asked - set(numbers.index) == {"visual_below", "sap_sink_change", "trace_row_sum"}


def test_the_stored_parts_add_up(stored):
    parts = gap_parts(stored[0].updates, stored[0].carriers)
    np.testing.assert_allclose(parts[list(PARTS)].sum(axis=1), parts["gap"], atol=1e-9)
    assert parts["cut"].abs().max() < 1e-6


def test_what_the_chapter_says_holds_in_the_stored_table(stored, numbers):
    tables, facts = stored
    assert tables.updates["sample"].nunique() == facts["samples"]
    assert phases(tables.carriers) == Phases(11, 28)
    parts = gap_parts(tables.updates, tables.carriers).assign(every=0)
    rows = intervals(parts, ["gap", "kept", *PARTS], ["every"], seed=0).set_index("quantity")
    for name in ("gap", "kept", "sink written", "sink removed", "size"):
        assert rows.loc[name, "low"] > 0, name
    for name in ("sink carried", "novelty"):
        assert rows.loc[name, "high"] < 0, name
    assert numbers.loc["equal_size", "high"] < 0
    assert rows.loc["size", "low"] > 0.9 * rows.loc["kept", "mean"]
    assert numbers.loc["kept_share", "high"] < 0.7
    # "About two fifths", in README and introduction.
    assert 0.35 < rows.loc["sink written", "mean"] / rows.loc["gap", "mean"] < 0.45


def test_the_control_changes_nothing(numbers):
    assert numbers.loc["control_gap", ["low", "high"]].abs().max() < 0.002


def test_the_sink_is_the_first_token_and_one_feature(stored, numbers):
    carriers = stored[0].carriers
    behind = carriers[carriers["layer"].between(11, 27) & (carriers["module"] == "ffn")]
    assert (behind["position"] == 0).mean() >= 0.99 and behind["feature"].nunique() == 1
    assert behind["token"].nunique() > 20
    assert numbers.loc["sink_first", "mean"] >= 0.99
    assert numbers.loc["sink_attention", "low"] > 0.4


# --- On pictures ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def on_pictures():
    return read_sinks("smollm2-pictures")[0]


def test_every_prediction_was_measured_and_came_out_as_the_page_says(on_pictures):
    replaced = sink_change(read_replaced("smollm2-pictures"), seed=0)
    measured = pd.concat([sink_quantities(on_pictures, seed=0), replaced])
    answers = compared(predictions("sinks-on-pictures"), measured)
    assert [answer.partition(":")[0] for answer in answers] == ["right"] * 13


@pytest.mark.parametrize("page", ["README.md", "book/intro.md"])
def test_the_shares_that_are_typed_are_those_of_the_tables(page, stored, on_pictures):
    said = re.search(r"(\d+)% of it on text and (\d+)% on\s+pictures", (ROOT / page).read_text())
    for typed, tables in zip(said.groups(), (stored[0], on_pictures), strict=True):
        parts = gap_parts(tables.updates, tables.carriers)
        means = shares(parts.assign(sink=parts["gap"] - parts["kept"]), ["sink"], seed=0)
        assert typed == f"{100 * means['mean'].item():.0f}"
        written = shares(parts, ["sink written"], seed=0)["mean"].item()
        assert "two fifths" in (ROOT / page).read_text() and 0.35 < written < 0.45


@pytest.mark.parametrize("page", ["README.md", "book/intro.md"])
def test_the_share_of_three_layers_in_mixig_is_that_of_the_table(page):
    place = ROOT / "data/results/measured/smollm2-pictures/updates.parquet"
    means = own_updates(pd.read_parquet(place)).pivot_table("mixig", "layer", "module")
    by_layer = means["attention"] - means["ffn"]
    share = by_layer.nlargest(3).sum() / by_layer.sum()
    words = " ".join((ROOT / page).read_text().split())
    assert f"three of them {share:.0%} of the difference in" in words
