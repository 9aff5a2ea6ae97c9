"""The models that jobs are about: by which name, how large, asked how; or why they are left out."""

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd
from transformers import AutoConfig, PreTrainedConfig

from lost_in_attention.evaluation.cost import Shape
from lost_in_attention.evaluation.targets import Target
from lost_in_attention.models.families import family_of
from lost_in_attention.models.load import resolve
from lost_in_attention.models.shipped import chosen_models, world_of
from lost_in_attention.runs.paths import data_folder

# All of the paper's variants, and of these for each target those that the paper prints.
PUBLISHED, PAPER = "published", "paper"


@dataclass(frozen=True)
class JobSubject:
    """A model by the name that commands take, and the paper's name where it has one.

    `prompt` is a name in `decoding.PROMPTS`, `source` where its questions come from.  `reason`
    says why there can be no jobs for it, nothing where there can.
    """

    model: str
    variant: str
    shape: Shape
    prompt: str = "plain"
    source: str = "hub"
    reason: str = ""

    @property
    def folder(self) -> str:
        """What its results are kept under."""
        return self.model.strip("/").replace("/", "--")


def job_subjects(models: str) -> list[JobSubject]:
    """Those that a comma-separated list names: `PUBLISHED` or `PAPER`, variants of the paper, and
    what `chosen_models` takes.

    Raises what `chosen_models` and `resolve` do, and ValueError on a model of no known family.
    """
    if models in (PUBLISHED, PAPER):
        return list(_published().values())
    known = _published()
    return [each for name in models.split(",") for each in _named(name.strip(), known)]


def for_target(target: Target, subjects: list[JobSubject], models: str) -> list[JobSubject]:
    """Of the subjects those that there are jobs for; under `PAPER` those that the target prints."""
    possible = [each for each in subjects if not each.reason]
    if models != PAPER or not target.variants:
        return possible
    return [each for each in possible if each.variant in target.variants]


def _named(name: str, known: dict[str, JobSubject]) -> Iterator[JobSubject]:
    hubs = {each.model: each for each in known.values()}
    if name in known or name in hubs:
        yield known.get(name) or hubs[name]
        return
    for model in chosen_models(name):
        shape = _shape(AutoConfig.from_pretrained(resolve(model)))
        yield JobSubject(str(model), model, shape, source=world_of(model) or "hub")


def _shape(config: PreTrainedConfig) -> Shape:
    """Of a configuration; the parameters are those of its decoder, counted."""
    family, decoder = family_of(config, "model"), config.get_text_config()
    layers, hidden = decoder.num_hidden_layers, decoder.hidden_size
    layer = 4 * hidden**2 + 3 * hidden * decoder.intermediate_size
    billions = (layers * layer + 2 * hidden * decoder.vocab_size) / 1e9
    return Shape(family.key, billions, layers, hidden)


def _published() -> dict[str, JobSubject]:
    table = pd.read_csv(data_folder() / "paper" / "published_models.csv", keep_default_na=False)
    reasoning = ("MM-Eureka", "Orsta", "Ocean")
    found = {}
    for row in table.itertuples():
        layers, hidden = {3: (36, 2048), 6: (32, 4096), 7: (28, 3584), 32: (64, 5120)}[row.billions]
        family = "qwen2.5-vl"
        for start, key in (
            ("LLaVA-1", "llava"),
            ("LLaVA-O", "llava-onevision"),
            ("Yi", "llava"),
            ("Mis", "llava-next"),
            ("Vic", "llava-next"),
        ):
            if row.variant.startswith(start):
                family = key
        shape = Shape(family, float(row.billions), layers, hidden)
        prompt = "reasoning" if row.variant.startswith(reasoning) else "plain"
        found[row.variant] = JobSubject(
            row.hub,
            row.variant,
            shape,
            prompt,
            reason=row.note if "not a trans" in row.note else "",
        )
    return found
