"""What is measured of an update, by name: RID and its parts, MixIG, the state that it leaves.

A metric is a function of an `Update` that gives one number, or a mapping of columns to numbers.
`METRICS` holds the library's; `measure` takes a choice of them, and a reader's own beside them.
"""

import inspect
import math
from collections.abc import Callable, Collection, Mapping, Sequence
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


class ChosenMetrics(dict[str, Metric]):
    """The metrics of one measurement, by name; every update has the columns of the first."""

    def __init__(self, metrics: Mapping[str, Metric]) -> None:
        super().__init__(metrics)
        self._columns: dict[str, list[str]] = {}

    def columns_of(self, update: Update) -> dict[str, Number]:
        """The columns of one update, in the order of the metrics.

        Raises ValueError that names a reader's own metric if it fails, gives no finite number, a
        column that is there already or is one of the library's, or other columns than before.
        """
        row: dict[str, Number] = {}
        for name, metric in self.items():
            if metric is METRICS.get(name):
                row[name] = metric(update)
                continue
            columns = _columns(name, _value(name, metric, update))
            if taken := sorted(columns.keys() & {*row, *KEYS, *METRICS}):
                raise ValueError(f"metric {name!r}: expected columns of other names, got {taken}")
            first = self._columns.setdefault(name, list(columns))
            if columns.keys() != set(first):
                raise ValueError(
                    f"metric {name!r}: expected the columns {first} again, got {list(columns)}"
                )
            row |= columns
        return row


def chosen_metrics(metrics: Metrics) -> ChosenMetrics:
    """The metrics that names, or names with functions, stand for.

    Raises ValueError if there are none, on an unknown or repeated name, and on a name that stands
    for something else: the column of a key, or one of `METRICS`.
    """
    _check_names(metrics)
    if not isinstance(metrics, Mapping):
        metrics = {name: METRICS.get(name) for name in metrics}
    if unknown := [name for name, metric in metrics.items() if metric is None]:
        raise ValueError(f"metrics: expected names among {list(METRICS)}, got {unknown}")
    for name, metric in metrics.items():
        if name in KEYS or (name in METRICS and metric is not METRICS[name]):
            raise ValueError(f"metrics: expected a name of its own for your metric, got {name!r}")
        if not callable(metric):
            raise ValueError(f"metrics: expected a function for {name!r}, got {metric!r}")
    return ChosenMetrics(metrics)


def identity(name: str, metric: Metric) -> str:
    """What tells a metric from another of its name; raises what `told_apart` does."""
    return "the library's" if metric is METRICS.get(name) else told_apart("metrics", name, metric)


def told_apart(argument: str, name: str, function: Callable) -> str:
    """What tells a function from another of its name: its place or own repr, and its source.

    The values of its defaults tell it apart too.  One with settings is a frozen dataclass: its repr
    tells them.

    Raises ValueError that names `argument` if the source cannot be read, or does not tell all: of
    a function with variables of a surrounding one, or of another object.
    """
    is_function = inspect.isfunction(function)
    frozen = getattr(getattr(type(function), "__dataclass_params__", None), "frozen", False)
    if function.__closure__ if is_function else not frozen:
        raise ValueError(
            f"{argument}: expected a function without closure, or a frozen dataclass with its "
            f"settings, for {name!r}, as a run's file keeps what it was made with, got {function!r}"
        )
    try:
        source = inspect.getsource(function if is_function else type(function))
    except (OSError, TypeError) as error:
        raise ValueError(
            f"{argument}: expected a function from a file or a notebook for {name!r}, as a run's "
            f"file keeps what it was made with, got {function!r}"
        ) from error
    called = _called(function) if is_function else repr(function)
    return f"{called}, source {sha256(source.encode()).hexdigest()[:16]}"


def _called(function: Callable) -> str:
    """A function's place, and the values of its defaults where it has some."""
    defaults = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).items()]
    place = f"{function.__module__}.{function.__qualname__}"
    return f"{place}, defaults {defaults!r}" if defaults else place


def _check_names(metrics: object) -> None:
    if isinstance(metrics, str) or not isinstance(metrics, Collection):
        raise ValueError(f"metrics: expected names, or names with functions, got {metrics!r}")
    if not metrics:
        raise ValueError("metrics: expected at least one, got none")
    for name in metrics:
        if not _is_name(name):
            raise ValueError(f"metrics: expected names that are text, got {name!r}")
    if len(set(metrics)) < len(metrics):
        raise ValueError(f"metrics: expected each name once, got {list(metrics)}")


def _is_name(name: object) -> bool:
    return isinstance(name, str) and bool(name.strip())


def _value(name: str, metric: Metric, update: Update) -> object:
    """What a reader's own metric gives; its failure becomes a ValueError that names it."""
    try:
        return metric(update)
    except Exception as error:
        said = str(error).partition("\n")[0]
        raise ValueError(f"metric {name!r}: {type(error).__name__}: {said}") from error


def _columns(name: str, value: object) -> dict[str, Number]:
    """One number under the metric's name, or several under their own."""
    numbers = dict(value) if isinstance(value, Mapping) else {name: value}
    if not numbers or not all(map(_is_name, numbers)):
        raise ValueError(
            f"metric {name!r}: expected at least one column, named by text, got {list(numbers)}"
        )
    return {column: _finite(name, column, number) for column, number in numbers.items()}


def _finite(name: str, column: str, value: object) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, RuntimeError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"metric {name!r}: expected a finite number as {column!r}, got {value!r}")
    return number
