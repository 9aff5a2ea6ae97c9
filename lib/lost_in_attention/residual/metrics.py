"""What is measured of an update, by name: RID and its parts, MixIG, the state that it leaves.

A metric is a function of an `Update` that gives one number, or a mapping of columns to numbers.
`METRICS` holds the library's; `measure` takes a choice of them, and a reader's own beside them.
"""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from types import MappingProxyType
from typing import SupportsFloat

from lost_in_attention.metrics.rid import Spectrum, UpdateGeometry, spectrum_change, update_geometry

Number = int | float
# What a row is found by; no metric may give a column of these names.
KEYS = ("sample", "image_source", "layer", "module", "update", "tokens", "features")


@dataclass(frozen=True, eq=False)
class Update:
    """One update X -> X': both states decomposed, and all that compares them, computed once."""

    before: Spectrum
    after: Spectrum

    @cached_property
    def geometry(self) -> UpdateGeometry:
        """RID with its parts, and the innovation factors (Section 3.3.1)."""
        return update_geometry(self.before, self.after)


Metric = Callable[[Update], SupportsFloat | Mapping[str, SupportsFloat]]
Metrics = Sequence[str] | Mapping[str, Metric]

METRICS: Mapping[str, Metric] = MappingProxyType({
    "rid": lambda update: update.geometry.rid.total,
    "spectrum_change": lambda update: spectrum_change(update.before, update.after),
    "support_innovation": lambda update: update.geometry.rid.support_innovation,
    "size": lambda update: update.geometry.factors.size,
    "token_novelty": lambda update: update.geometry.factors.token_novelty,
    "feature_novelty": lambda update: update.geometry.factors.feature_novelty,
    "mixig": lambda update: update.after.mixing_entropy - update.before.mixing_entropy,
    "effective_rank": lambda update: update.after.effective_rank,
    "rank": lambda update: update.after.rank,
    "tme": lambda update: update.after.mixing_entropy,
})  # fmt: skip
"""Of the update (Defs 3.5, 3.6 and 3.8), then of the state behind it (Defs 3.4, 3.3 and 3.7)."""


def chosen_metrics(metrics: Metrics) -> dict[str, Metric]:
    """The metrics that names, or names with functions, stand for.

    Raises ValueError if there are none, on an unknown name, and on a name that stands for something
    else: the column of a key, or one of `METRICS`.
    """
    if not isinstance(metrics, Mapping):
        metrics = {name: METRICS.get(name) for name in metrics}
    if not metrics:
        raise ValueError("metrics: expected at least one, got none")
    if unknown := [name for name, metric in metrics.items() if metric is None]:
        raise ValueError(f"metrics: expected names among {list(METRICS)}, got {unknown}")
    for name, metric in metrics.items():
        if name in KEYS or (name in METRICS and metric is not METRICS[name]):
            raise ValueError(f"metrics: expected a name of its own for your metric, got {name!r}")
        if not callable(metric):
            raise ValueError(f"metrics: expected a function for {name!r}, got {metric!r}")
    return dict(metrics)


def columns_of(metrics: Mapping[str, Metric], update: Update) -> dict[str, Number]:
    """The columns of one update, in the order of the metrics.

    Raises ValueError that names a reader's own metric if it gives no finite number, or a column
    that is there already.
    """
    row: dict[str, Number] = {}
    for name, metric in metrics.items():
        if metric is METRICS.get(name):
            row[name] = metric(update)
            continue
        columns = _columns(name, metric(update))
        if taken := sorted(columns.keys() & (row.keys() | set(KEYS))):
            raise ValueError(f"metric {name!r}: expected columns of other names, got {taken}")
        row |= columns
    return row


def identity(name: str, metric: Metric) -> str:
    """What tells a metric from another of its name: its own repr or its place, and its source.

    A metric with settings is a dataclass: its repr tells them.
    Raises ValueError if the source cannot be read.
    """
    if metric is METRICS.get(name):
        return "the library's"
    is_function = inspect.isfunction(metric)
    try:
        source = inspect.getsource(metric if is_function else type(metric))
    except (OSError, TypeError) as error:
        raise ValueError(
            f"metrics: expected a function from a file or a notebook for {name!r}, as a run's file "
            f"keeps what it was made with, got {metric!r}"
        ) from error
    called = f"{metric.__module__}.{metric.__qualname__}" if is_function else repr(metric)
    return f"{called}, source {sha256(source.encode()).hexdigest()[:16]}"


def _columns(name: str, value: object) -> dict[str, Number]:
    """One number under the metric's name, or several under their own."""
    numbers = dict(value) if isinstance(value, Mapping) else {name: value}
    return {column: _finite(name, column, number) for column, number in numbers.items()}


def _finite(name: str, column: str, value: object) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, RuntimeError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"metric {name!r}: expected a finite number as {column!r}, got {value!r}")
    return number
