"""What a notebook shows and keeps: figures with their data, tables, and claims.

    run = report.start("06_layerwise_curves", globals())
    vlm = load(run.models[0], device=run.device, dtype=run.dtype)
    samples = load_benchmark("pope").draw(run.count(questions, smoke=8), seed=seed)
    run.figure(fig, "rid", data=table, alt=alt_layer_curves(table, "rid"), caption="...")
    run.saw(vlm)
    run.asked("pope", samples)
    run.claim("C073", statement="...", paper="...", measured=0.1, answers={...}, tolerance="...")
    run.claims_table()

Each figure carries the numbers that it draws and its provenance, in the page and as files.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from lost_in_attention.benchmarks import Sample, Samples, load_benchmark
from lost_in_attention.evaluation.measure_run import draw_at_most
from lost_in_attention.evaluation.measured import Measured, Subject
from lost_in_attention.models import VisionLanguageModel, each_model
from lost_in_attention.models.load import resolve
from lost_in_attention.models.shipped import PRETRAINED, SMALL, chosen_models, own_source
from lost_in_attention.publishing import page, plots
from lost_in_attention.publishing.claims import Claim, words
from lost_in_attention.publishing.evidence import Evidence
from lost_in_attention.publishing.verdicts import Finding, Ground, decide, in_words
from lost_in_attention.residual.measurements import Measurement
from lost_in_attention.runs import provenance
from lost_in_attention.runs.files import replaced_when_complete
from lost_in_attention.runs.parameters import check_injected, executed_cells, own_parameters
from lost_in_attention.runs.paths import check_writable

# Larger drawings are shown as PNG: a page of many points as SVG is slow to open.
SVG_LIMIT = 150_000
PNG_DPI = 200
# The heading over what was measured, by the kinds of subjects among the models.
_SHOW = "the models show"
_SHOWING = {
    frozenset(): "small models show",
    frozenset({SMALL}): "small models show",
    frozenset({PRETRAINED}): "a pretrained decoder shows",
    frozenset({PRETRAINED, SMALL}): "a pretrained decoder and small models show",
}


@dataclass(frozen=True)
class Run:
    """One execution of a notebook: its output folder, its provenance and its claims so far.

    `models` are the names of the models that it is about.
    """

    output: Path
    provenance: dict[str, Any]
    models: list[str]
    claims: list[Claim] = field(default_factory=list)
    evidence: Evidence = field(default_factory=Evidence)

    @property
    def notebook(self) -> str:
        """The notebook's name, without folder and ending."""
        return self.provenance["notebook"]

    @property
    def seed(self) -> int:
        """The seed of its draws, of its noise and of its resamples."""
        return self.provenance["seed"]

    @property
    def device(self) -> str:
        """Where its models run: on the GPU if there is one."""
        return "cuda" if torch.cuda.is_available() else "cpu"

    @property
    def dtype(self) -> torch.dtype:
        """Of its models' weights: that of the paper at tier paper, exact enough elsewhere."""
        return torch.bfloat16 if self.provenance["tier"] == "paper" else torch.float32

    def count(self, wanted: int, *, smoke: int) -> int:
        """How many of something to take: at tier smoke `smoke`, elsewhere what was asked for."""
        return smoke if self.provenance["tier"] == "smoke" else wanted

    def each_model(self) -> Iterator[tuple[str, VisionLanguageModel]]:
        """Each of its models with its name, one at a time, recorded for the verdicts.

        Raises what `models.each_model` and `saw` do.
        """
        for name, vlm in each_model(self.models, device=self.device, dtype=self.dtype):
            self.saw(vlm)
            yield name, vlm

    def each_subject(self) -> Iterator[tuple[str, Subject]]:
        """Each of its models with its name, one at a time, loaded where it is needed.

        Recorded for the verdicts; raises what `load` and `saw` do.
        """
        for name in self.models:
            subject = Subject(name, self.device, self.dtype, self.saw)
            yield name, subject
            if not subject.loaded:
                self.evidence.stored([name])
            subject.release()

    def saw(self, vlm: VisionLanguageModel) -> None:
        """Record a model that was loaded, for the verdicts; raises what `Evidence.saw` does."""
        self.evidence.saw(vlm)

    def asked(self, benchmark: str, samples: Samples) -> list[Sample]:
        """Record the questions that were drawn, for the verdicts; returns them as a list.

        Raises what `Evidence.asked` does.
        """
        self.evidence.asked(benchmark, samples)
        return list(samples)

    def drawn(self, benchmark: str, source: str, wanted: int, *, smoke: int) -> dict[str, Samples]:
        """The questions of each of its models, recorded for the verdicts.

        With the source "own" each model is asked in the world that it was trained on.
        Raises what `own_source`, `load_benchmark` and `Samples.draw` do.
        """
        sources = {name: own_source(name, source) for name in self.models}
        count, found = self.count(wanted, smoke=smoke), {}
        for each in dict.fromkeys(sources.values()):
            found[each] = load_benchmark(benchmark, each).draw(count, seed=self.seed)
            self.evidence.asked(benchmark, found[each])
        return {name: found[each] for name, each in sources.items()}

    def fewer(
        self, samples: Mapping[str, Samples], wanted: int, *, smoke: int
    ) -> dict[str, Samples]:
        """Some of each model's questions, for what takes longer; all where there are no more."""
        count = self.count(wanted, smoke=smoke)
        return {name: draw_at_most(own, count, seed=self.seed) for name, own in samples.items()}

    def measured(
        self, *wanted: tuple[Measurement, Mapping[str, Samples]], live: int
    ) -> list[Measured]:
        """Each measurement of each model's samples, stored where it is stored (`measured`).

        Of the first model `live` samples are measured again, to compare.  Shows where all numbers
        come from; models are recorded for the verdicts.
        """
        found = [Measured(measurement) for measurement, _ in wanted]
        for name, subject in self.each_subject():
            again = live if name == self.models[0] else 0
            for one, (_, samples) in zip(found, wanted, strict=True):
                one.add(subject, list(samples[name]), seed=self.seed, live=again)
        origins = pd.concat([one.made_by() for one in found], ignore_index=True)
        self.table(origins, "Where the numbers come from")
        return found

    def figure(self, fig: Figure, name: str, *, data: pd.DataFrame, alt: str, caption: str) -> None:
        """Save the figure with its data and provenance, show it in the page, and close it.

        Writes <output>/<notebook>/<name>.png, .csv, .json, and .svg where that is small.
        `data` holds the numbers that the figure draws; `alt` says in words what it shows.

        Raises:
            ValueError: a name that is not lower_case, no data, or no alt text or caption.
        """
        page.check_name("name", name)
        page.check_texts(name, {"alt": alt, "caption": caption})
        if data.empty:
            raise ValueError(f"data of figure {name!r}: expected the numbers drawn, got no row")
        png, svg = (page.rendered(fig, kind, dpi=PNG_DPI) for kind in ("png", "svg"))
        plt.close(fig)
        files = {
            "png": png,
            "csv": data.to_csv(index=False).encode(),
            "json": _json(self.provenance | {"figure": name, "caption": caption, "alt": alt}),
        }
        shown = ("image/png", png)
        stem = self.output / self.notebook / name
        stem.with_suffix(".svg").unlink(missing_ok=True)
        if len(svg) <= SVG_LIMIT:
            files["svg"] = svg
            shown = ("image/svg+xml", svg)
        for suffix, content in files.items():
            with replaced_when_complete(stem.with_suffix(f".{suffix}")) as part:
                part.write_bytes(content)
        links = [
            _download("data (CSV)", f"{name}.csv", "text/csv", files["csv"]),
            _download("provenance (JSON)", f"{name}.json", "application/json", files["json"]),
        ]
        page.show(_figure_html(page.data_uri(*shown), alt, caption, links), alt)

    def claim(
        self,
        claim_id: str,
        *,
        statement: str,
        paper: str | float,
        measured: str | float | np.floating,
        tolerance: str | float,
        answers: Mapping[str, bool | None] | None = None,
        questions: int | None = None,
        number: bool = False,
        verdict: str | None = None,
        note: str = "",
    ) -> None:
        """Keep the verdict on one claim of the paper as <output>/claims/<notebook>.<id>.json.

        `answers` holds what each model says (`verdicts`), from `questions` questions each (those
        that were `asked`, if not given); `number` marks a number of the paper's own models.  Where
        nothing was measured `verdict` stands in their place.  `paper` and `measured` are a finite
        number or a few words, `tolerance` says what counts as agreement, `statement` and `note`
        are plain text.

        Raises:
            ValueError: what `claims.Claim` raises, neither or both of `answers` and `verdict`, or
                an id claimed before in this notebook.
        """
        if (answers is None) == (verdict is None):
            found = "neither" if answers is None else "both"
            raise ValueError(f"claim {claim_id}: expected answers or a verdict, got {found}")
        if claim_id in {claim.id for claim in self.claims}:
            raise ValueError(f"claim {claim_id}: expected one verdict in a notebook, got a second")
        # float() also takes the scalars of numpy and torch, which JSON does not.
        paper, measured, tolerance = (
            value if isinstance(value, str) else float(value)
            for value in (paper, measured, tolerance)
        )
        origin = self.provenance | {"evidence": self.evidence.as_json()}
        questions = self.evidence.questions if questions is None else int(questions)
        if answers is not None:
            answers = {name: _plain_answer(name, each) for name, each in answers.items()}
            ground = Ground(claim_id, self.evidence, origin["tier"], questions, number)
            verdict = in_words(decide([Finding(ground, answers)]))
        found = (verdict, tolerance, note, origin, answers, questions, number)
        claim = Claim(claim_id, statement, paper, measured, *found)
        claim.write(self.output)
        self.claims.append(claim)

    def claims_table(self) -> None:
        """Show this notebook's claims: what the paper says, what was measured, the verdict."""
        if not self.claims:
            raise ValueError("claims: expected at least one before claims_table, got none")
        measured = _SHOWING.get(frozenset(self.evidence.by_subject(self.evidence.models)), _SHOW)
        rows = [
            {
                "claim": claim.id,
                "the paper says": f"{claim.statement} ({words(claim.paper)})",
                measured: words(claim.measured),
                "agreement means": words(claim.tolerance),
                "verdict": claim.verdict,
                "note": claim.note,
            }
            for claim in self.claims
        ]
        self.table(pd.DataFrame(rows), f"Claims at tier {self.provenance['tier']}")

    def table(self, table: pd.DataFrame, caption: str) -> None:
        """Show a table with a caption and column headings that a screen reader can name.

        Raises:
            ValueError: a table without rows, or no caption.
        """
        if table.empty or not caption.strip():
            raise ValueError(f"table: expected rows, a caption, got {len(table)}, {caption!r}")
        # A name of all columns, as pivoting leaves it, would stand over a column of its own.
        plain = table.rename_axis(columns=None)
        body = plain.to_html(index=False, border=0, classes="table", float_format="{:.3g}".format)
        body = body.replace("<th>", '<th scope="col">').replace(' style="text-align: right;"', "")
        body = body.replace("<thead>", f"<caption>{escape(caption)}</caption><thead>", 1)
        page.show(f'<div style="overflow-x:auto" tabindex="0">{body}</div>', table.to_string())


def start(notebook: str, names: Mapping[str, Any], *, about_models: bool = True) -> Run:
    """Begin a run of notebooks/<notebook>.ipynb, given its `globals()`.

    Its parameters are read from them: `tier`, `seed`, `output` (the folder under which its files
    go), `model` or `models` (unless it is not `about_models`), and those of its own.  Claims that
    an earlier run of the same notebook left there are removed, so that none outlives the cell that
    made it.

    Raises:
        ValueError: an unknown tier, a parameter that is missing, no scalar or not of its type, a
            negative seed, a malformed notebook name or list of models, an output that cannot be
            written, or a parameter from papermill that the notebook does not have or that is of
            another type.
        FileNotFoundError: an unknown model.
    """
    cells = executed_cells()
    check_injected(cells)
    page.check_name("notebook", notebook)
    own = own_parameters(names, cells)
    subject = "models" if "models" in own else "model"
    subjects = {subject} if about_models else set()
    if missing := ({"tier", "seed", "output"} | subjects) - own.keys():
        raise ValueError(f"parameters: expected {sorted(missing)} too, got {list(own)}")
    tier, seed, output = (own.pop(name) for name in ("tier", "seed", "output"))
    texts = {"tier": tier, "output": output} | {name: own[name] for name in subjects}
    _check_parameters(texts, seed)
    models = _models(own) if about_models else []
    check_writable("output", Path(output))
    model = ", ".join(models)
    origin = provenance.collect(notebook, tier=tier, seed=seed, model=model, parameters=own)
    for stale in (Path(output) / "claims").glob(f"{notebook}.*.json"):
        stale.unlink()
    plots.use_house_style()
    return Run(Path(output), origin, models)


def _models(own: dict[str, Any]) -> list[str]:
    """The models that a notebook is about; `model`, which provenance has by itself, is taken out.

    Raises what `chosen_models` and `resolve` do.
    """
    if "models" in own:
        return chosen_models(own["models"])
    model = own.pop("model")
    resolve(model)
    return [model]


def _check_parameters(texts: Mapping[str, Any], seed: Any) -> None:
    """Raise ValueError unless these are texts, and the seed a whole number of at least 0."""
    for name, text in texts.items():
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"{name}: expected text, got {text!r}")
    if type(seed) is not int or seed < 0:
        raise ValueError(f"seed: expected a whole number, 0 or more, got {seed!r}")


def alt_layer_curves(table: pd.DataFrame, value: str) -> str:
    """Alt text of `plots.layer_curves`, worded from the means that it draws."""
    sentences = []
    for name, curve in plots.module_curves(table, value).items():
        means = curve.set_index("layer")["mean"]
        first, last, low, high = means.index[0], means.index[-1], means.idxmin(), means.idxmax()
        sentences.append(
            f"{plots.MODULES[name]['label']}: {means[first]:.3g} at layer {first}, "
            f"{means[last]:.3g} at layer {last}, lowest {means[low]:.3g} at layer {low}, "
            f"highest {means[high]:.3g} at layer {high}."
        )
    return f"Line chart of {plots.axis_label(value)} by layer. " + " ".join(sentences)


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _download(label: str, filename: str, kind: str, content: bytes) -> str:
    return f'<a href="{page.data_uri(kind, content)}" download="{filename}">{label}</a>'


def _figure_html(source: str, alt: str, caption: str, links: list[str]) -> str:
    image = f'<img src="{source}" alt="{escape(alt)}" style="max-width:100%;height:auto">'
    text = f"{escape(caption)} Download: {', '.join(links)}."
    return f'<figure style="margin:1em 0">{image}<figcaption>{text}</figcaption></figure>'


def _plain_answer(name: str, answer: Any) -> bool | None:
    """Yes, no or open as JSON knows them; numpy has booleans of its own."""
    if answer is None or isinstance(answer, bool | np.bool_):
        return None if answer is None else bool(answer)
    raise ValueError(f"answers: expected yes, no or None from {name}, got {answer!r}")
