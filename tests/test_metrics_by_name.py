"""Metrics by name: a choice of the library's, a reader's own beside them, and what is refused."""

import math
from dataclasses import dataclass

import pandas as pd
import pytest
import torch

from lost_in_attention.benchmarks import load_benchmark
from lost_in_attention.metrics import spectrum as spectrum_module
from lost_in_attention.metrics.rid import spectrum, update_geometry
from lost_in_attention.models import load
from lost_in_attention.residual import measure as measure_module
from lost_in_attention.residual import metrics as metrics_module
from lost_in_attention.residual.controls import Resized
from lost_in_attention.residual.measure import measure
from lost_in_attention.residual.metrics import KEYS, METRICS, Update


@pytest.fixture(scope="module")
def vlm():
    return load("small-llava")


@pytest.fixture(scope="module")
def samples():
    return list(load_benchmark("pope").draw(2, seed=4))


@pytest.fixture(scope="module")
def table(vlm, samples):
    return measure(vlm, samples)


def growth(update: Update) -> float:
    """|X'| / |X|"""
    return math.sqrt(update.after.squared_norm / update.before.squared_norm)


def extremes(update: Update) -> dict[str, torch.Tensor]:
    """Two columns, as tensors of one element."""
    values = update.after.singular_values
    return {"largest": values[0], "smallest": values[-1]}


@dataclass(frozen=True)
class Share:
    """A metric with a setting: the energy of the first directions."""

    directions: int

    def __call__(self, update: Update) -> float:
        energies = update.after.singular_values.square()
        return float(energies[: self.directions].sum() / energies.sum())


def test_all_metrics_are_the_columns_in_their_order(table):
    assert list(table.columns) == [*KEYS, *METRICS]


@pytest.mark.parametrize("name", METRICS)
def test_each_alone_is_what_it_is_among_all(name, vlm, samples, table):
    alone = measure(vlm, samples, metrics=[name])
    pd.testing.assert_frame_equal(alone, table[[*KEYS, name]], check_exact=True)


def test_only_what_is_asked_for_is_computed(vlm, samples, monkeypatch):
    calls = []
    for module, name in (
        (metrics_module, "update_geometry"),
        (spectrum_module, "token_mixing_entropy_from_gram"),
    ):
        real = getattr(module, name)
        monkeypatch.setattr(
            module, name, lambda *args, real=real, name=name: calls.append(name) or real(*args)
        )
    updates = 2 * len(vlm.layers)
    measure(vlm, samples[:1], metrics=["effective_rank", "spectrum_change"])
    assert calls == []
    measure(vlm, samples[:1], metrics=["rid", "size", "feature_novelty"])
    assert calls == ["update_geometry"] * updates
    calls.clear()
    measure(vlm, samples[:1], metrics=["mixig", "tme"])
    assert calls == ["token_mixing_entropy_from_gram"] * (updates + 1)


def test_a_metric_of_ones_own_stands_beside_the_others(vlm, samples, table):
    own = {"growth": growth, "extremes": extremes, "share": Share(3)}
    beside = measure(vlm, samples, metrics=METRICS | own)
    assert list(beside.columns) == [*KEYS, *METRICS, "growth", "largest", "smallest", "share"]
    pd.testing.assert_frame_equal(beside[table.columns.tolist()], table, check_exact=True)
    assert (beside["largest"] > beside["smallest"]).all()
    alone = measure(vlm, samples, metrics=own)
    pd.testing.assert_frame_equal(alone, beside[alone.columns.tolist()], check_exact=True)


def test_it_gets_the_states_before_and_after_also_of_controls(vlm, samples):
    """A known answer: an update resized to a share of X' that shrinks to nothing grows nothing."""
    controls = {"small": Resized(1e-6)}
    table = measure(vlm, samples, controls=controls, metrics={"growth": growth})
    groups = table.groupby("update")["growth"]
    assert groups.get_group("small").sub(1).abs().max() < 1e-5
    assert groups.get_group("own").sub(1).abs().min() > 1e-4


def test_an_update_in_closed_form():
    x = torch.eye(3, 5, dtype=torch.float64)
    update = Update(spectrum(x), spectrum(2 * x))
    assert METRICS["rid"](update) == 0
    assert METRICS["size"](update) == pytest.approx(0.5)
    assert METRICS["mixig"](update) == 0
    assert METRICS["effective_rank"](update) == pytest.approx(3)
    assert METRICS["rank"](update) == 3
    assert growth(update) == pytest.approx(2)
    assert update.geometry == update_geometry(x, 2 * x)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (["rid", "mixing"], r"metrics: expected names among \['rid'.*got \['mixing'\]"),
        ([], "metrics: expected at least one"),
        ({"layer": growth}, "metrics: expected a name of its own .* got 'layer'"),
        ({"rid": growth}, "metrics: expected a name of its own .* got 'rid'"),
        ({"growth": 1.0}, "metrics: expected a function for 'growth', got 1.0"),
        ({"growth": None}, r"metrics: expected names among .*got \['growth'\]"),
        (None, "metrics: expected names, or names with functions, got None"),
        (5, "metrics: expected names, or names with functions, got 5"),
        ("rid", "metrics: expected names, or names with functions, got 'rid'"),
        (growth, "metrics: expected names, or names with functions, got <function growth"),
        ([["rid"]], r"metrics: expected names that are text, got \['rid'\]"),
        ({" ": growth}, "metrics: expected names that are text, got ' '"),
        ({3: growth}, "metrics: expected names that are text, got 3"),
        (["rid", "rid"], r"metrics: expected each name once, got \['rid', 'rid'\]"),
    ],
)
def test_a_bad_choice_is_refused_before_the_model_runs(vlm, samples, metrics, message, monkeypatch):
    monkeypatch.setattr(measure_module, "record", None)
    with pytest.raises(ValueError, match=message):
        measure(vlm, samples, metrics=metrics)


@pytest.mark.parametrize("value", [math.nan, math.inf, "much", None, torch.ones(2), [1, 2]])
def test_a_metric_that_gives_no_number_is_named_with_its_place(vlm, samples, value):
    where = f"sample {samples[0].id}, layer 0, module attention: metric 'odd': expected a finite"
    for metric in (lambda update: value, lambda update: {"odd": value}):
        with pytest.raises(ValueError, match=where):
            measure(vlm, samples, metrics={"odd": metric})


@pytest.mark.parametrize("column", ["rid", "layer", "growth"])
def test_a_column_that_is_there_already_is_refused(vlm, samples, column):
    metrics = {"rid": METRICS["rid"], "growth": growth, "odd": lambda update: {column: 1.0}}
    with pytest.raises(ValueError, match=rf"metric 'odd': expected columns .* got \['{column}'\]"):
        measure(vlm, samples, metrics=metrics)


def test_no_column_of_the_librarys_is_overwritten_in_either_order(vlm, samples):
    mine = {"mine": lambda update: {"rid": -7.0}}
    library = {"rid": METRICS["rid"]}
    for metrics in (mine | library, library | mine, mine):
        with pytest.raises(ValueError, match=r"metric 'mine': expected columns .* got \['rid'\]"):
            measure(vlm, samples, metrics=metrics)


@pytest.mark.parametrize("given", [{}, {"": 1.0}, {3: 1.0}])
def test_columns_are_some_and_named_by_text(vlm, samples, given):
    with pytest.raises(ValueError, match="metric 'odd': expected at least one column, named by"):
        measure(vlm, samples, metrics={"odd": lambda update: given})


def test_every_update_of_every_sample_has_the_same_columns(vlm, samples):
    updates = 2 * len(vlm.layers)
    for columns in (2, updates + 1):
        left = iter(["one"] * (columns - 1) + ["two"] * 2 * updates)
        metrics = {"odd": lambda update, left=left: {next(left): 1.0}}
        with pytest.raises(ValueError, match=r"metric 'odd': .* \['one'\] again, got \['two'\]"):
            measure(vlm, samples, metrics=metrics)


def test_a_metric_that_fails_is_named_with_its_place(vlm, samples):
    def odd(update):
        return {}["missing"]

    where = rf"sample {samples[0].id}, layer 0, module attention: metric 'odd': KeyError: 'missing'"
    with pytest.raises(ValueError, match=where) as refused:
        measure(vlm, samples, metrics={"odd": odd})
    assert isinstance(refused.value.__cause__.__cause__, KeyError)


def made(constant):
    def odd(update):
        return constant

    return odd


def with_default(constant):
    return lambda update, constant=constant: constant


class Loose:
    def __call__(self, update):
        return 1.0


@pytest.mark.parametrize("metric", [made(1.0), Loose(), Share], ids=["closure", "object", "class"])
def test_what_its_source_does_not_tell_is_not_kept_in_a_file(vlm, samples, metric, tmp_path):
    with pytest.raises(ValueError, match=r"metrics: expected a function without closure.* 'odd'"):
        measure(vlm, samples, metrics={"odd": metric}, output=tmp_path / "run.jsonl")
    assert not list(tmp_path.iterdir())


def test_defaults_tell_functions_apart(vlm, samples, tmp_path):
    output = tmp_path / "run.jsonl"
    table = measure(vlm, samples, metrics={"odd": with_default(1.0)}, output=output)
    again = measure(vlm, samples, metrics={"odd": with_default(1.0)}, output=output, resume=True)
    pd.testing.assert_frame_equal(again, table)
    with pytest.raises(ValueError, match=r"metrics .* there, .* now"):
        measure(vlm, samples, metrics={"odd": with_default(2.0)}, output=output, resume=True)


def test_a_run_with_other_metrics_is_refused(vlm, samples, tmp_path):
    def run(metrics, **how):
        return measure(vlm, samples, metrics=metrics, output=tmp_path / "run.jsonl", **how)

    table = run({"rid": METRICS["rid"], "share": Share(3)})
    again = run({"rid": METRICS["rid"], "share": Share(3)}, resume=True)
    pd.testing.assert_frame_equal(again, table)
    for other in (["rid"], {"rid": METRICS["rid"], "share": Share(4)}, {"share": growth}):
        with pytest.raises(ValueError, match=r"metrics .* there, .* now"):
            run(other, resume=True)


def test_two_functions_of_one_name_are_told_apart(vlm, samples, tmp_path):
    def first():
        def odd(update):
            return 1.0

        return odd

    def second():
        def odd(update):
            return 2.0

        return odd

    measure(vlm, samples, metrics={"odd": first()}, output=tmp_path / "run.jsonl")
    with pytest.raises(ValueError, match=r"metrics .* there, .* now"):
        measure(vlm, samples, metrics={"odd": second()}, output=tmp_path / "run.jsonl", resume=True)


def test_a_function_without_a_source_is_not_kept_in_a_file(vlm, samples, tmp_path):
    made = eval("lambda update: 1.0")
    assert (measure(vlm, samples, metrics={"one": made})["one"] == 1).all()
    with pytest.raises(ValueError, match="metrics: expected a function from a file .* for 'one'"):
        measure(vlm, samples, metrics={"one": made}, output=tmp_path / "run.jsonl")
    assert not list(tmp_path.iterdir())
