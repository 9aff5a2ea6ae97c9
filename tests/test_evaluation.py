"""The sweep: a grid of variants, their answers to the same questions, and what they change."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from lost_in_attention.__main__ import app
from lost_in_attention.benchmarks import BENCHMARKS, load_benchmark
from lost_in_attention.evaluation import (
    GridRun,
    Results,
    Variant,
    ablations,
    against_vanilla,
    answer_under,
    family_of,
    grid_run,
    heads_replaced,
    kept_and_returned,
    presets,
    prior_entropies,
    read_results,
    readings,
    reproduces,
    seen_by_either,
    under_plans,
    with_stored,
)
from lost_in_attention.evaluation.comparisons import holm
from lost_in_attention.evaluation.decoding import Decoding
from lost_in_attention.evaluation.grid import BANDS, BLANK, VANILLA, layer_ranges
from lost_in_attention.evaluation.measured import Subject
from lost_in_attention.evaluation.questions import evaluate
from lost_in_attention.evaluation.readings import (
    COSTS,
    FEW_HEADS,
    FREE,
    NO_LOSS,
    ONE_ROW,
    OPEN,
    REDUNDANT,
)
from lost_in_attention.evaluation.stored import results_path, run_of
from lost_in_attention.models import load
from lost_in_attention.models.families import KEYS, family_named
from lost_in_attention.models.settings import commit_of
from lost_in_attention.models.shipped import chosen_models
from lost_in_attention.runs.paths import data_folder
from lost_in_attention.sap import paper, shared_attention_prior
from lost_in_attention.training.architecture import ARCHITECTURES

MODEL = "small-qwen2.5-vl"
families = pytest.mark.parametrize("family", KEYS)


@pytest.fixture(scope="module")
def vlm():
    return load(MODEL)


@pytest.fixture(scope="module")
def samples():
    return list(load_benchmark("pope").draw(7, seed=2))


@pytest.fixture(scope="module")
def variants(vlm):
    return presets(family_of(vlm), depth=len(vlm.layers), noise_seeds=2)


@pytest.fixture(scope="module")
def answers(vlm, samples, variants):
    return ask(vlm, samples, variants)


def ask(vlm, samples, variants, **changes) -> pd.DataFrame:
    options = {"benchmark": "pope", "variants": variants, "batch_size": 3}
    return answer_under(vlm, samples, **options | changes)


@families
def test_the_grid_holds_every_prior_and_every_control(family):
    grid = presets(family, depth=8, noise_seeds=3)
    counts = pd.Series([(v.preset, v.name) for v in grid]).value_counts()
    both = [(p, m) for p in ("paper", "released") for m in ("encoder", "complexity", "uniform")]
    once = [("none", "vanilla"), ("none", "blank"), ("paper", "blend0"), *both]
    once += [("everywhere", "encoder"), ("everywhere", "uniform")]
    noise = {(preset, "noise"): 3 for preset in ("paper", "released")}
    assert counts.to_dict() == dict.fromkeys(once, 1) | noise
    assert len(set(grid)) == len(grid)


@families
def test_at_the_published_depth_the_ranges_are_the_published_ones(family):
    published = family_named(family).published
    assert layer_ranges(family, depth=published.depth) == list(published.ranges)


@pytest.mark.parametrize("family", ARCHITECTURES)
def test_the_published_ranges_are_those_of_the_tables(family):
    rows = pd.read_csv(data_folder() / "paper" / "tables6_7_layers.csv")
    tables = {
        frozenset(zip(own["layer_first"], own["layer_last"], strict=True))
        for _, own in rows.groupby("model")
    }
    assert frozenset(family_named(family).published.ranges) in tables
    bands = pd.read_csv(data_folder() / "paper" / "tables4_5_heads.csv")
    assert set(BANDS) == set(zip(bands["head_min"], bands["head_max"], strict=True))


@given(st.sampled_from(KEYS), st.integers(2, 80))
def test_scaled_ranges_are_within_the_decoder_and_stand_once(family, depth):
    ranges = layer_ranges(family, depth=depth)
    assert len(set(ranges)) == len(ranges)
    assert all(0 <= first <= last < depth for first, last in ranges)


@families
def test_ablations_are_different_and_say_where(family):
    grid = ablations(family, depth=8)
    assert len(set(grid)) == len(grid)
    assert {v.preset for v in grid} == {"none", "heads", "heads, released ranking", "layers"}


def test_the_presets_replace_a_small_part_of_all_heads():
    replaced = {name: heads_replaced(name) for name in chosen_models("families")}
    assert sorted(replaced.values()) == [(2, 32), (4, 32), (4, 32), (7, 32)]


def test_bad_grids_are_refused():
    with pytest.raises(ValueError, match=r"preset: expected .* got \['mine'\]"):
        presets("llava", depth=8, names=["paper", "mine"])
    with pytest.raises(ValueError, match="noise_seeds: expected at least 1, got 0"):
        presets("llava", depth=8, noise_seeds=0)
    with pytest.raises(ValueError, match="family: expected one of .* got 'other'"):
        layer_ranges("other", depth=8)


def test_rows_stand_question_by_question_and_variant_by_variant(answers, samples, variants):
    assert answers["sample"].tolist() == [s.id for s in samples for _ in variants]
    expected = [(v.name, v.preset, v.noise_seed) for v in variants] * len(samples)
    found = answers[["variant", "preset", "noise_seed"]].itertuples(index=False, name=None)
    assert list(found) == expected


def test_rows_are_those_of_an_evaluation(vlm):
    """One lane: beside the variant's columns nothing differs, the fields of a score included."""
    samples = load_benchmark("hallusionbench").draw(4, seed=0)
    under = ask(vlm, samples, [VANILLA], benchmark="hallusionbench")
    alone = evaluate(vlm, samples, benchmark="hallusionbench", batch_size=3)
    shared = [column for column in under if column in alone]
    assert {"set_id", "figure_id", "question_id", "correct", "prompt"} <= set(shared)
    assert set(alone) - set(shared) == {"decoding", "seed", "versions"}
    pd.testing.assert_frame_equal(under[shared], alone[shared])
    score = BENCHMARKS["hallusionbench"].score
    assert score(under) == score(alone)


def test_each_variant_answers_as_it_does_alone(vlm, samples, variants, answers):
    # Everything shared within a batch, above all its encoded images, must leave no trace.
    for number, variant in enumerate(variants):
        own = answers["reply"].iloc[number :: len(variants)].tolist()
        asked = [sample.blanked() for sample in samples] if variant.blank else samples
        if variant.plan is None:
            alone = evaluate(vlm, asked, benchmark="pope", batch_size=3)
        else:
            with shared_attention_prior(vlm, variant.plan) as changed:
                alone = evaluate(changed, asked, benchmark="pope", batch_size=3)
        assert alone["reply"].tolist() == own, variant.label


def test_blend_0_answers_as_vanilla_does_and_a_blank_image_does_not(answers):
    replies = answers.pivot_table("reply", "sample", ["preset", "variant"], aggfunc="first")
    assert (replies["paper", "blend0"] == replies["none", "vanilla"]).all()
    assert (replies["none", "blank"] != replies["none", "vanilla"]).any()


def test_a_sweep_that_broke_off_goes_on(vlm, samples, variants, answers, monkeypatch, tmp_path):
    path, asked = tmp_path / "run.jsonl", []
    reply = under_plans.replies_to

    def breaks(*args, **options):
        if len(asked) == len(variants) + 2:
            raise KeyboardInterrupt
        asked.append(1)
        return reply(*args, **options)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(under_plans, "replies_to", breaks)
        ask(vlm, samples, variants, output=path)
    with path.open("a") as file:
        file.write('{"model": "small')
    asked.clear()
    monkeypatch.setattr(
        under_plans, "replies_to", lambda *a, **o: (asked.append(1), reply(*a, **o))[1]
    )
    table = ask(vlm, samples, variants, output=path, resume=True)
    pd.testing.assert_frame_equal(table, answers)
    assert len(asked) == 2 * len(variants)
    with pytest.raises(ValueError, match="variants"):
        ask(vlm, samples, variants[:3], output=path, resume=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"benchmark": "vqa"}, "benchmark: expected one of .* got 'vqa'"),
        ({"samples": []}, "samples: expected at least one"),
        ({"variants": []}, "variants: expected at least one"),
        ({"variants": [Variant("vanilla")] * 2}, "variants: .* each once"),
        ({"batch_size": 0}, "batch_size: expected at least 1"),
        ({"seed": -1}, "seed: expected a whole number, 0 or more, got -1"),
        ({"resume": True}, "resume: expected an output"),
        # The last of several: it must not wait until the others have answered.
        (
            {"variants": [VANILLA, Variant("noise", "deep", paper("llava", "noise"))]},
            r"plan: expected layers within 0-7, got \(18, 23\)",
        ),
    ],
)
def test_bad_arguments_are_refused_before_the_model_runs(
    vlm, samples, variants, monkeypatch, changes, message
):
    monkeypatch.setattr(under_plans, "replies_to", None)
    options = {"samples": samples, "variants": variants} | changes
    with pytest.raises(ValueError, match=message):
        ask(vlm, **options)


def made_up(right: dict[str, list[int]], *, seeds: int = 1) -> pd.DataFrame:
    """A table of answers: for each variant which questions it has right; two share an image."""
    rows = [
        {
            "model": "m", "benchmark": "pope", "preset": "p", "variant": name, "noise_seed": seed,
            "sample": str(number), "image_source": str(number // 2), "correct": bool(hit),
            "reply": "yes" if hit else "no",
        }
        for name, hits in right.items()
        for seed in range(seeds)
        for number, hit in enumerate(hits)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_changes_against_vanilla_in_closed_form():
    vanilla, other = [1] * 8 + [0] * 2, [1, 0, 0, 0, 0, 0, 0, 1, 1, 0]
    cells = against_vanilla(made_up({"vanilla": vanilla, "other": other}), seed=0)
    cells = cells.set_index("variant")
    own = cells.loc["other"]
    assert (own["accuracy"], own["n"]) == (pytest.approx(0.3), 10)
    assert own["change"] == pytest.approx(-0.5) and own["same"] == pytest.approx(0.3)
    assert own["change_low"] < -0.5 < own["change_high"]
    # Six lost and one gained: twice the binomial tail of at most 1 in 7.
    assert own["p"] == own["p_holm"] == pytest.approx(2 * (1 + 7) / 2**7)
    assert cells.loc["vanilla", ["change", "change_low", "change_high"]].tolist() == [0, 0, 0]
    assert np.isnan(cells.loc["vanilla", "p_holm"])


def test_the_accuracy_of_a_cell_is_the_benchmarks_own():
    """VMCBench: the mean of its sources' means, not of its questions."""
    right = {"vanilla": [1, 1, 1, 1, 0, 0], "other": [1, 1, 1, 0, 1, 0]}
    table = made_up(right).assign(benchmark="vmcbench")
    table["group"] = np.where(table["sample"].astype(int) < 4, "GQA", "DocVQA")
    cells = against_vanilla(table, seed=0).set_index("variant")
    for name, own in table.groupby("variant"):
        score = BENCHMARKS["vmcbench"].score(own.assign(parsed="a"))["accuracy"]
        assert cells.loc[name, "accuracy"] == pytest.approx(score)
    # Question by question nothing changed: one lost, one gained.
    assert cells.loc["other", "change"] == pytest.approx((0.75 + 0.5) / 2 - 0.5)
    assert cells["n"].tolist() == [6, 6] and cells.loc["other", "p"] == 1
    by_source = against_vanilla(table, by=["benchmark", "group", "variant"], seed=0)
    by_source = by_source.set_index(["group", "variant"])["accuracy"]
    assert by_source.loc[[("GQA", "other"), ("DocVQA", "other")]].tolist() == [0.75, 0.5]


def test_noise_seeds_are_one_cell_with_the_largest_p():
    table = made_up({"vanilla": [1] * 8})
    lost = made_up({"noise": [0] * 8})
    kept = made_up({"noise": [1] * 8}).assign(noise_seed=1)
    noise = (
        against_vanilla(pd.concat([table, lost, kept]), seed=0).set_index("variant").loc["noise"]
    )
    assert (noise["accuracy"], noise["p"], noise["seed_range"], noise["n"]) == (0.5, 1, 1, 8)


def test_answers_without_their_vanilla_are_refused():
    table = made_up({"other": [1, 0]})
    with pytest.raises(ValueError, match="vanilla answer to each question, 2 rows lack it"):
        against_vanilla(table, seed=0)
    twice = made_up({"vanilla": [1, 0]}, seeds=2)
    with pytest.raises(ValueError, match="one vanilla answer to each question, got several"):
        against_vanilla(twice, seed=0)


def test_another_variant_can_be_the_reference():
    table = made_up({"uniform": [1, 1, 0, 0], "encoder": [1, 0, 0, 0]})
    cells = against_vanilla(table, reference="uniform", seed=0).set_index("variant")
    assert cells["change"].to_dict() == {"encoder": -0.25, "uniform": 0}
    assert cells["p_holm"].isna().to_dict() == {"encoder": False, "uniform": True}
    with pytest.raises(ValueError, match="by: expected the column 'variant'"):
        against_vanilla(table, by=["model"], reference="uniform", seed=0)


def test_pooled_cells_count_every_question_once():
    table = made_up({"vanilla": [1, 1, 0, 0], "other": [0, 1, 1, 0]})
    double = pd.concat([table, table.assign(benchmark="realworldqa")])
    pooled = against_vanilla(double, by=["model", "variant"], seed=0).set_index("variant")
    assert pooled["n"].tolist() == [8, 8] and pooled.loc["other", "change"] == 0
    assert pooled.loc["other", "p"] == 1


def test_either_side_chooses_the_questions_that_need_the_image():
    right = {"vanilla": [1, 1, 0, 0, 1], "blank": [1, 0, 0, 0, 0], "other": [1, 0, 1, 0, 1]}
    chosen = seen_by_either(made_up(right))
    own = chosen.groupby("variant")["sample"].agg(list)
    assert own["other"] == ["1", "2", "4"] and own["vanilla"] == ["1", "2", "4"]
    assert own["blank"] == ["1", "4"]
    shares = kept_and_returned(made_up(right)).set_index("variant")
    assert shares.loc["other", ["vanilla_right", "variant_right"]].tolist() == [2, 2]
    assert shares.loc["other", ["kept", "returned"]].tolist() == [0.5, 0.5]
    assert shares.loc["blank", "kept"] == 0 and np.isnan(shares.loc["blank", "returned"])
    without = made_up({"vanilla": [1, 0], "other": [0, 1]})
    assert seen_by_either(without).empty


def test_a_chosen_question_weighs_what_it_does_among_all():
    """VMCBench: a source with one chosen question of many must not count as a whole source."""
    right = {"vanilla": [1, 1, 1, 1, 1], "other": [1, 1, 0, 1, 0], "blank": [0, 1, 1, 1, 0]}
    table = made_up(right).assign(benchmark="vmcbench")
    table["group"] = np.where(table["sample"].astype(int) < 4, "GQA", "DocVQA")
    chosen = seen_by_either(pd.concat([table[:8], table[8:].reset_index(drop=True)]))
    weights = chosen[chosen["variant"] == "other"].set_index("sample")["weight"]
    # Five questions, two sources: 5 / (2 * 4) and 5 / (2 * 1).
    assert weights.to_dict() == {"0": pytest.approx(0.625), "4": pytest.approx(2.5)}
    own = against_vanilla(chosen, seed=0).set_index("variant").loc["other"]
    assert own["change"] == pytest.approx(-2.5 / 3.125) and own["n"] == 2


@pytest.mark.parametrize("seed", [0, 1])
def test_exchanging_the_two_sides_turns_the_sign(seed):
    """Chosen by vanilla alone, the second of two runs alike would fall below the first."""
    vanilla, other, blank = np.random.default_rng(seed).integers(0, 2, (3, 40)).tolist()
    first, second = (
        made_up({"vanilla": one, "other": two, "blank": blank})
        for one, two in ((vanilla, other), (other, vanilla))
    )
    changes = []
    for table in map(seen_by_either, (first, second)):
        own = against_vanilla(table, seed=0).set_index("variant").loc["other"]
        changes.append((own["change"], own["n"], own["p"]))
    (change, n, p), (turned, m, q) = changes
    assert change == pytest.approx(-turned) and (n, p) == (m, q)
    one, two = (
        kept_and_returned(each).set_index("variant").loc["other"] for each in (first, second)
    )
    assert (one["kept"], one["returned"]) == (two["returned"], two["kept"])


@pytest.mark.parametrize(
    ("blank", "paper", "released", "everywhere", "reading"),
    [
        ((-9, 0), (-1, 1), (-1, 1), (-1, 1), NO_LOSS),
        ((-9, -5), (-9, -1), (-9, -1), (-9, -1), COSTS),
        ((-9, -5), (-9, -1), (-1, 1), (-9, -1), ONE_ROW),
        ((-9, -5), (-9, 1), (-1, 1), (-9, -1), OPEN),
        ((-9, -5), (-1, 1), (-1, 1), (-1, 1), REDUNDANT),
        # Surely lower, but by less than the margin.
        ((-9, -5), (-1.5, -0.5), (-1, 1), (-9, -1), FEW_HEADS),
        ((-9, -5), (-1, 1), (-1, 1), (-9, 1), FREE),
    ],
)
def test_each_reading_follows_from_its_controls(blank, paper, released, everywhere, reading):
    places = {
        ("none", "blank"): blank,
        ("paper", "encoder"): paper,
        ("released", "encoder"): released,
        ("everywhere", "encoder"): everywhere,
    }
    cells = pd.DataFrame(
        [
            {"model": "m", "benchmark": "b", "preset": preset, "variant": variant,
             "change_low": low, "change_high": high}
            for (preset, variant), (low, high) in places.items()
        ]
    )  # fmt: skip
    assert readings(cells, margin=2)["reading"].tolist() == [reading]
    with pytest.raises(ValueError, match="margin: expected a positive number, got 0"):
        readings(cells, margin=0)


def test_live_answers_stand_in_where_nothing_is_stored(tmp_path):
    live = made_up({"vanilla": [1, 0]})
    kept = made_up({"vanilla": [1, 1]}).assign(model="n")
    results("n", tmp_path).write(kept)
    mixed = with_stored(live, ["m", "n", "absent"], folder=tmp_path)
    assert mixed.table["model"].unique().tolist() == ["n", "m"]
    assert mixed.made_by()["answers"].tolist() == ["stored", "computed now"]
    assert "of n are stored" in mixed.sentence
    assert "of m were just" in mixed.sentence
    assert "As nothing is stored for absent" in mixed.sentence
    assert mixed.equal == "nothing is stored to compare with"
    again = with_stored(live.assign(model="n"), ["n"], folder=tmp_path)
    assert again.equal == "50.00% of 2 answers are equal"
    assert again.table["correct"].tolist() == [True, True]


def test_answers_are_whole_only_with_every_benchmark_of_every_model(tmp_path):
    table = pd.concat([made_up({"vanilla": [1]}).assign(benchmark=name) for name in BENCHMARKS])
    assert with_stored(table, ["m"], folder=tmp_path).whole
    assert not with_stored(table, ["m", "n"], folder=tmp_path).whole
    assert not with_stored(table[table["benchmark"] != "mmmu"], ["m"], folder=tmp_path).whole
    more = pd.concat([table, made_up({"vanilla": [1]}).assign(model="n")])
    assert not with_stored(more, ["m", "n"], folder=tmp_path).whole


def test_a_table_is_reproduced_only_where_all_of_its_cells_were_measured():
    printed = pd.Series({"pope": 1.0, "mmmu": -2.0})
    assert reproduces(pd.Series({"mmmu": -1.5, "pope": 1.5, "other": 9}), printed, tolerance=1)
    assert reproduces(pd.Series({"mmmu": -0.5, "pope": 1.0}), printed, tolerance=1) is False
    assert reproduces(pd.Series({"pope": 1.0}), printed, tolerance=1) is None
    assert reproduces(pd.Series({"pope": 1.0, "mmmu": np.nan}), printed, tolerance=1) is None


def test_the_flatness_of_known_priors(vlm, samples):
    found = prior_entropies(vlm, samples[:3], seed=0)
    entropies = found.set_index(["prior", "variant"])["entropy"]
    assert entropies.loc["uniform"].to_numpy() == pytest.approx(1)
    # Probabilities as scores: at most 1 apart, so no weight is more than e times another.
    assert (entropies.xs("released", level="variant") > 0.9).all()
    assert len(found) == 4 * 2 * found["image_source"].nunique()
    log_n = np.log(vlm.visual_mask(vlm.prepare([samples[0].images], ["?"])).sum().item())
    gaussian = entropies.loc[("noise", "paper")].mean() * log_n
    assert gaussian == pytest.approx(log_n - 0.5, abs=0.2)


def test_holm_in_closed_form():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_lies_between_no_correction_and_bonferroni(p_values):
    corrected, p_values = holm(p_values), np.array(p_values)
    assert (corrected >= p_values).all() and (corrected <= 1).all()
    assert (corrected <= np.minimum(p_values * len(p_values), 1) + 1e-12).all()
    assert (np.diff(corrected[p_values.argsort()]) >= 0).all()


def results(model, folder, *, weights="abc", variants=(VANILLA,), **options) -> Results:
    asked = GridRun(model, source="digits").options | options
    return Results(results_path(model, "default", folder), weights, variants, asked)


def test_results_come_back_with_their_origin(answers, variants, tmp_path):
    stored = results("owner/model", tmp_path, variants=variants, source="/home/someone/pope")
    assert stored.path.name == "sap-owner--model.parquet"
    stored.write(answers)
    table, origins = read_results(["owner/model", "absent"], folder=tmp_path)
    pd.testing.assert_frame_equal(table, answers, check_dtype=False)
    [origin] = origins.values()
    [run] = origin["runs"]
    assert "someone" not in json.dumps(origin) and "--source pope" in run["command"]
    assert (run["questions"], origin["rows"], origin["weights"]) == (7, len(answers), "abc")
    assert read_results(["absent"], folder=tmp_path) == (None, {})
    with pytest.raises(ValueError, match="grid: expected one of .* got 'other'"):
        results_path("m", "other", tmp_path)


def test_a_second_benchmark_leaves_the_first_ones_answers(tmp_path):
    first, second = made_up({"vanilla": [1, 0]}), made_up({"vanilla": [0, 0]})
    second = second.assign(benchmark="realworldqa")
    results("m", tmp_path, questions=2).write(first)
    results("m", tmp_path, questions=9).write(second)
    again = first.assign(correct=True)
    results("m", tmp_path, questions=5).write(again)
    table, origins = read_results(["m"], folder=tmp_path)
    pd.testing.assert_frame_equal(table, pd.concat([second, again], ignore_index=True))
    asked = {b: run_of(origins["m"], b)["options"]["questions"] for b in ("pope", "realworldqa")}
    assert asked == {"pope": 5, "realworldqa": 9} and len(origins["m"]["runs"]) == 2
    assert run_of(origins["m"], "mmmu") is None


def test_the_commit_of_a_model_from_the_hub_is_told(tmp_path):
    vlm = replace(load("small-llava"), revision="0" * 40)
    assert Subject.of(vlm).facts()["revision"] == vlm.revision
    replace(results("m", tmp_path), commit=commit_of(vlm)).write(made_up({"vanilla": [1, 0]}))
    [origin] = read_results(["m"], folder=tmp_path)[1].values()
    assert run_of(origin, "pope")["revision"] == vlm.revision


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"weights": "def"}, "weights"),
        ({"variants": [VANILLA, BLANK]}, "variants"),
        ({"source": "hub"}, "tier"),
        ({"decoding": "paper"}, "decoding"),
        ({"prompt": "reasoning"}, "prompt"),
    ],
)
def test_answers_made_otherwise_are_not_mixed(tmp_path, changes, named):
    results("m", tmp_path).write(made_up({"vanilla": [1, 0]}))
    other = results("m", tmp_path, **changes)
    with pytest.raises(ValueError, match=f"output: .* got other {named} of pope"):
        other.check(["realworldqa"])
    # The whole file made anew is no mixture.
    other.check(["pope", "realworldqa"])


def test_answers_that_are_not_their_origins_are_refused(tmp_path):
    stored = results("m", tmp_path)
    stored.write(made_up({"vanilla": [1, 0]}))
    made_up({"vanilla": [1, 1]}).to_parquet(stored.path)
    message = r"results: expected rows that sap-m.json is about"
    with pytest.raises(ValueError, match=message):
        read_results(["m"], folder=tmp_path)
    with pytest.raises(ValueError, match=message):
        stored.check(["realworldqa"])
    # A whole new file repairs the pair.
    stored.write(made_up({"vanilla": [0, 0]}))
    assert not read_results(["m"], folder=tmp_path)[0]["correct"].any()


def test_a_write_that_fails_leaves_the_older_pair(tmp_path, monkeypatch):
    stored = results("m", tmp_path)
    stored.write(made_up({"vanilla": [1, 0]}))
    before = [path.read_bytes() for path in sorted(tmp_path.iterdir())]

    def full(self, path, **_):
        Path(path).write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", full)
    with pytest.raises(OSError, match="No space"):
        stored.write(made_up({"vanilla": [1, 1]}))
    assert [path.read_bytes() for path in sorted(tmp_path.iterdir())] == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"benchmarks": "pope,vqa"}, "benchmarks: expected 'all' or different names"),
        ({"preset": "mine"}, "preset: expected 'both' or different names"),
        ({"where": "here"}, "where: expected one of .* got 'here'"),
        ({"decoding": "beam"}, "decoding: expected one of .* got 'beam'"),
        ({"prompt": "mine"}, "prompt: expected one of .* got 'mine'"),
        ({"dtype": "int8"}, "dtype: expected one of .* got 'int8'"),
        ({"questions": 0}, "questions: expected at least 1, got 0"),
        ({"noise_seeds": 0}, "noise_seeds: expected at least 1, got 0"),
        ({"seed": -1}, "seed: expected 0 or more, got -1"),
    ],
)
def test_a_sweep_that_makes_no_sense_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        GridRun(MODEL, **changes)


def sweep(folder, *options):
    command = ["sap", "--model", MODEL, "--questions", "3", "--where", "ablations",
               "--runs", str(folder / "runs"), "--output", str(folder / "out")]  # fmt: skip
    return CliRunner().invoke(app, [*command, *options])


def test_the_command_writes_results_and_can_be_repeated(tmp_path):
    for _ in range(2):
        result = sweep(tmp_path, "--benchmarks", "pope,realworldqa")
        assert result.exit_code == 0, result.output
    table, origins = read_results([MODEL], "ablations", tmp_path / "out")
    assert table.groupby("benchmark")["sample"].nunique().to_dict() == {"pope": 3, "realworldqa": 3}
    [run] = origins[MODEL]["runs"]
    assert run["options"]["where"] == "ablations" and "--where ablations" in run["command"]
    refused = sweep(tmp_path, "--preset", "mine")
    assert refused.exit_code == 2 and "preset" in refused.output


@pytest.mark.parametrize("argument", ["runs", "output"])
def test_a_folder_that_cannot_be_written_is_noticed_before_the_model_is_loaded(
    tmp_path, monkeypatch, argument
):
    monkeypatch.setattr(grid_run, "load", None)
    (tmp_path / "file").touch()
    folders = {"runs": tmp_path, "output": tmp_path} | {argument: tmp_path / "file" / "in"}
    with pytest.raises(ValueError, match=f"{argument}: expected a place that can be written"):
        GridRun(MODEL, benchmarks="pope", questions=1).run(**folders)


def test_one_folder_serves_several_benchmarks(tmp_path):
    for name in ("pope", "vmcbench"):
        (tmp_path / name).symlink_to(data_folder() / "digits" / name)
    asked = GridRun(MODEL, source=str(tmp_path), benchmarks="pope,vmcbench", questions=2)
    embedded = GridRun(MODEL, benchmarks="pope,vmcbench", questions=2)
    ids = [
        [(b, s.id) for b, own in each.samples().items() for s in own] for each in (asked, embedded)
    ]
    assert ids[0] == ids[1] and len(ids[0]) == 4
    alone = GridRun(MODEL, source=str(tmp_path / "pope"), benchmarks="pope", questions=2)
    assert [sample.id for sample in alone.samples()["pope"]] == [
        i for b, i in ids[0] if b == "pope"
    ]
    with pytest.raises(ValueError, match="source: .* got none for mmmu"):
        GridRun(MODEL, source=str(tmp_path), benchmarks="pope,mmmu").samples()


def test_a_models_path_stays_out_of_its_answers(vlm, samples):
    table = ask(replace(vlm, name="/home/someone/tuned"), samples[:1], [VANILLA])
    assert table["model"].tolist() == ["tuned"]


def test_sampled_answers_share_their_random_numbers(vlm, samples, variants, monkeypatch):
    monkeypatch.setattr(vlm.model.generation_config, "do_sample", True)
    monkeypatch.setattr(vlm.model.generation_config, "temperature", 4.0)
    sampled = Decoding("sampled", max_new_tokens=6, greedy=False)
    identity = [VANILLA, next(v for v in variants if v.name == "blend0")]
    table = ask(vlm, samples, identity, decoding=sampled, seed=5)
    replies = {name: own["reply"].tolist() for name, own in table.groupby("variant")}
    alone = evaluate(vlm, samples, benchmark="pope", decoding=sampled, seed=5, batch_size=3)
    assert replies["vanilla"] == replies["blend0"] == alone["reply"].tolist()
    other = ask(vlm, samples, [VANILLA], decoding=sampled, seed=6)
    assert other["reply"].tolist() != replies["vanilla"]


def test_questions_without_an_image_are_asked_under_every_plan(vlm, samples, variants):
    without = replace(samples[0], id="without", images=())
    table = ask(vlm, [samples[1], without, samples[2]], variants)
    assert len(table) == 3 * len(variants)
    assert table.loc[table["sample"] == "without", "reply"].nunique() == 1
