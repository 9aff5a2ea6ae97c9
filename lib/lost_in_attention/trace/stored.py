"""Traces that are kept: three tables a model, and which of them a page may show as its own.

<folder>/<model>/answers.parquet, cases.parquet and edges.parquet, each with a JSON file that says
how it was made.  A stored table is taken where it is of the very weights, questions, annotations
and threshold that are asked for, and of as many cases; otherwise the model is traced now.
"""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from lost_in_attention.evaluation.measured import NOTHING_STORED, Facts, measured_path
from lost_in_attention.runs.paths import data_folder
from lost_in_attention.runs.provenance import Scalar
from lost_in_attention.runs.tables import table_made_with, write_table
from lost_in_attention.trace.cases import first_cases, until_enough
from lost_in_attention.trace.measuring import TOGETHER, TracedCases, Tracing

_GRAPH = ["sample", "layer", "kind", "tau", "among"]


def traced_path(model: str, name: str, folder: Path | None = None) -> Path:
    """<folder>/<model>/<name>.parquet; the folder is data/results/traced by default."""
    return measured_path(model, name, folder or data_folder() / "results" / "traced")


def write_traces(
    tracing: Tracing, tables: Mapping[str, pd.DataFrame], origin: Facts, folder: Path
) -> None:
    """Keep the tables by name; `origin` says how they were made (`provenance.made_by`)."""
    of = tracing.subject.facts() | tracing.settings
    for name, table in tables.items():
        write_table(traced_path(tracing.subject.name, name, folder), table, of | origin)


def traced_cases(
    tracing: Tracing, *, wanted: int, at_most: int, folder: Path | None = None
) -> TracedCases:
    """Answers until `wanted` are right and as many wrong, and the graphs of those: stored ones, or
    traced now where none of this model and these questions are."""
    answers, facts = traced_answers(tracing, wanted=wanted, at_most=at_most, folder=folder)
    found = facts and _stored(tracing, "cases", _limits(facts), folder)
    if found is None:
        return trace_chosen(tracing, answers, wanted)
    counts, _ = found
    chosen = counts["sample"].isin(first_cases(answers, wanted)["sample"])
    return TracedCases(answers, counts[chosen].reset_index(drop=True), wanted, facts)


def traced_answers(
    tracing: Tracing, *, wanted: int, at_most: int, folder: Path | None = None
) -> tuple[pd.DataFrame, Facts | None]:
    """`Tracing.answers`, stored or given now, and the facts of the file (None if given now)."""
    at_most = min(at_most, len(tracing.questions.samples))
    found = _stored(tracing, "answers", {"cases": wanted, "questions": at_most}, folder)
    if found is None:
        return tracing.answers(wanted=wanted, at_most=at_most), None
    table, facts = found
    return until_enough(table, wanted=wanted, at_most=at_most), facts


def trace_chosen(tracing: Tracing, answers: pd.DataFrame, wanted: int) -> TracedCases:
    """The cases among answers of `Tracing.answers`, traced now."""
    chosen = first_cases(answers, wanted).index
    samples = [tracing.questions.samples[i] for i in chosen]
    return TracedCases(answers, tracing.cases(samples), wanted)


def traced_edges(
    tracing: Tracing, count: int, folder: Path | None = None
) -> tuple[pd.DataFrame, Facts | None]:
    """`Tracing.edges`, stored or traced now, and the facts of the file (None if traced now)."""
    found = _stored(tracing, "edges", {"counted": count}, folder)
    if found is None:
        return tracing.edges(count), None
    table, facts = found
    first = table["sample"].drop_duplicates()[:count]
    return table[table["sample"].isin(first)], facts


def agreement(tracing: Tracing, found: TracedCases) -> str:
    """In words: how many counts of stored cases come out the same, the first being traced now."""
    if found.facts is None or found.seen.empty:
        return NOTHING_STORED
    first = found.seen.index[:TOGETHER]
    live = tracing.cases([tracing.questions.samples[i] for i in first])
    both = live.merge(found.counts, on=_GRAPH, suffixes=("", "_stored"))
    equal = (both["edges"] == both["edges_stored"]) & (
        both["key_edges"] == both["key_edges_stored"]
    )
    return (
        f"the first {len(first)} cases were traced again, and {100 * equal.mean():.2f}% of "
        f"{len(both)} counts of edges are equal"
    )


def origins(facts: Mapping[str, Facts | None]) -> str:
    """A sentence on which models' numbers are stored and which were just computed, by their facts.

    Says the day on which stored ones were finished, and the command.
    """
    stored = [f"{name} ({each['finished'][:10]})" for name, each in facts.items() if each]
    live = [name for name, each in facts.items() if not each]
    parts = []
    if stored:
        parts.append(
            f"Numbers of {', '.join(stored)} are stored ones, made by "
            "python -m lost_in_attention trace."
        )
    if live:
        parts.append(f"Numbers of {', '.join(live)} were just computed.")
    return " ".join(parts)


def _limits(facts: Facts) -> dict[str, int]:
    return {name: facts[name] for name in ("cases", "questions")}


def _stored(
    tracing: Tracing, name: str, least: Mapping[str, Scalar], folder: Path | None
) -> tuple[pd.DataFrame, Facts] | None:
    path = traced_path(tracing.subject.name, name, folder)
    # The digest of questions takes a while where there are many.
    found = table_made_with(path, tracing.settings, least) if path.exists() else None
    return found if found and tracing.subject.is_that_of(found[1]) else None
