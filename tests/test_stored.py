"""Stored answers and measurements: whole, and of the weights that are shipped."""

import pandas as pd
import pytest
import torch
from torch import nn

from lost_in_attention.benchmarks import BENCHMARKS, load_benchmark
from lost_in_attention.evaluation import (
    ablations,
    against_vanilla,
    family_of,
    presets,
    read_results,
)
from lost_in_attention.evaluation.measured import measured_path
from lost_in_attention.evaluation.measurements import MEASUREMENTS
from lost_in_attention.models import load
from lost_in_attention.models.settings import identity_of
from lost_in_attention.models.shipped import chosen_models
from lost_in_attention.residual.measurements import take
from lost_in_attention.runs.paths import data_folder
from lost_in_attention.runs.provenance import files_digest, weights_digest
from lost_in_attention.runs.tables import read_table
from lost_in_attention.trace.stored import traced_path

FAMILIES = chosen_models("families")
PLACE = ["first_layer", "last_layer", "low_head", "high_head"]
CELL = ["benchmark", "preset", "variant", "noise_seed", *PLACE]


@pytest.fixture(scope="module", params=FAMILIES)
def vlm(request):
    return load(request.param)


@pytest.mark.parametrize("grid", ["default", "ablations"])
def test_answers_belong_to_the_shipped_weights(vlm, grid):
    table, origins = read_results([vlm.name], grid)
    assert origins[vlm.name]["weights"] == weights_digest(vlm.model)
    assert origins[vlm.name]["rows"] == len(table)
    assert set(table["benchmark"]) == set(BENCHMARKS)


@pytest.mark.parametrize("grid", ["default", "ablations"])
def test_every_cell_has_a_thousand_questions(vlm, grid):
    table, _ = read_results([vlm.name], grid)
    family, depth = family_of(vlm), len(vlm.layers)
    if grid == "default":
        variants = presets(family, depth=depth, noise_seeds=3)
    else:
        variants = ablations(family, depth=depth)
    cells = table.groupby(CELL, dropna=False)["sample"].nunique()
    assert len(cells) == len(BENCHMARKS) * len(variants)
    assert cells.min() >= 1000
    assert not table.duplicated([*CELL, "sample"]).any()


def test_a_stored_accuracy_is_the_benchmarks_own(vlm):
    table, _ = read_results([vlm.name])
    table = table[table["variant"].isin(["vanilla", "blank"])]
    cells = against_vanilla(table, seed=0).set_index(["benchmark", "variant"])["accuracy"]
    for (benchmark, variant), own in table.groupby(["benchmark", "variant"]):
        score = BENCHMARKS[benchmark].score(own)["accuracy"]
        assert cells[benchmark, variant] == pytest.approx(score, abs=1e-12)


def test_with_nothing_replaced_all_answers_are_vanilla(vlm):
    table, _ = read_results([vlm.name])
    replies = table.set_index(["benchmark", "sample"]).groupby("variant")["reply"]
    vanilla, identity = replies.get_group("vanilla"), replies.get_group("blend0")
    assert identity.equals(vanilla)


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_measurements_belong_to_the_shipped_weights(vlm, name):
    table, facts = read_table(measured_path(vlm.name, name))
    measurement = MEASUREMENTS[name]("pope")
    assert facts["measurement"] == repr(measurement)
    assert facts["identity"] == identity_of(vlm)
    # So that a page need not load the model.
    assert facts["files"] == files_digest(data_folder() / "models" / vlm.name)
    assert len(facts["samples"]) == table["sample"].nunique() == measurement.questions


@pytest.mark.parametrize("name", ["answers", "cases", "edges"])
def test_traces_belong_to_the_shipped_weights(vlm, name):
    table, facts = read_table(traced_path(vlm.name, name))
    assert facts["identity"] == identity_of(vlm)
    assert facts["files"] == files_digest(data_folder() / "models" / vlm.name)
    assert len(table) == facts["rows"] > 0


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_a_stored_measurement_is_what_the_library_measures(vlm, name):
    table, facts = read_table(measured_path(vlm.name, name))
    options = facts["options"]
    drawn = load_benchmark("pope", options["source"]).draw(options["questions"], seed=0)
    one = [sample for sample in drawn if sample.id in facts["samples"]][:1]
    again = take(MEASUREMENTS[name]("pope"), vlm, one, seed=0)
    kept = table[table["sample"] == one[0].id].reset_index(drop=True)
    pd.testing.assert_frame_equal(again, kept, check_exact=False, atol=1e-4, rtol=1e-3)


def test_the_digest_tells_weights_names_and_types_apart():
    def layer() -> nn.Module:
        torch.manual_seed(0)
        return nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)})

    changed, renamed = layer(), layer()
    with torch.no_grad():
        changed["a"].weight[0, 0] += 1e-3
    renamed["c"] = renamed.pop("b")
    digests = {weights_digest(each) for each in (layer(), changed, renamed, layer().bfloat16())}
    assert len(digests) == 4
    assert weights_digest(layer()) in digests
