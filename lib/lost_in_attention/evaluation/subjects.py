"""The models that jobs are about: by which name, how large, asked how; or why they are left out."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from transformers import PreTrainedConfig

from lost_in_attention.evaluation.cost import Shape
from lost_in_attention.evaluation.decoding import prompt_for
from lost_in_attention.evaluation.measured import measured_path
from lost_in_attention.evaluation.targets import Target
from lost_in_attention.models.families import family_of
from lost_in_attention.models.load import configuration, resolve
from lost_in_attention.models.registry import RegisteredModel, paper_variants, registered
from lost_in_attention.models.shipped import chosen_models, world_of
from lost_in_attention.runs.paths import data_folder

# All of the paper's variants, and of these for each target those that the paper prints.
PUBLISHED, PAPER = "published", "paper"


@dataclass(frozen=True)
class JobSubject:
    """A model by what commands take, and by the name that the project gives it.

    `source` is where its questions come from.  `reason` says why there can be no jobs for it,
    nothing where there can.
    """

    model: str
    name: str
    shape: Shape
    source: str = "hub"
    reason: str = ""

    @property
    def prompt(self) -> str:
        """What it is asked with (`prompt_for`)."""
        return prompt_for(self.model)

    @property
    def on_hub(self) -> bool:
        """Whether its weights are downloaded; otherwise they lie in a folder here."""
        return not Path(resolve(self.model)).is_dir()

    @property
    def folder(self) -> str:
        """What its results are kept under."""
        return measured_path(self.model, "").parent.name


def job_subjects(models: str) -> list[JobSubject]:
    """Those that a comma-separated list names: `PUBLISHED` or `PAPER` alone, or registered models
    and what `chosen_models` takes.

    Raises what `chosen_models`, `resolve` and `configuration` do, and ValueError where the results
    of two models, or of one and another of the repository, would lie in one folder.
    """
    if models in (PUBLISHED, PAPER):
        return [_of_registry(each) for each in paper_variants()]
    found = [each for name in models.split(",") for each in _named(name.strip())]
    _check_folders(found)
    return found


def for_target(target: Target, subjects: list[JobSubject], models: str) -> list[JobSubject]:
    """Of the subjects those that there are jobs for; under `PAPER` those that the target prints."""
    possible = [each for each in subjects if not each.reason]
    if models != PAPER or not target.printed:
        return possible
    return [each for each in possible if _is_printed(each.name, target)]


def _check_folders(subjects: list[JobSubject]) -> None:
    owners: dict[str, str] = {}
    for each in subjects:
        own = each.folder if world_of(each.folder) else each.model
        owner = owners.setdefault(each.folder, own)
        if owner != each.model:
            raise ValueError(
                f"models: expected a folder of results for each, got {each.folder!r} "
                f"for {owner!r} and {each.model!r}"
            )


def _is_printed(name: str, target: Target) -> bool:
    model, folder = registered(name), data_folder() / "paper"
    tables = [pd.read_csv(folder / f"{table}.csv", usecols=["model"]) for table in target.printed]
    return bool(model and model.names & set(pd.concat(tables)["model"]))


def _named(name: str) -> list[JobSubject]:
    if model := registered(name):
        return [_of_registry(model)]
    return [_of_files(model) for model in chosen_models(name)]


def _of_registry(model: RegisteredModel) -> JobSubject:
    shape = Shape(model.family, model.parameters, model.layers, model.hidden_size)
    return JobSubject(model.hub, model.name, shape, reason=model.reason)


def _of_files(model: str) -> JobSubject:
    shape = _shape(configuration(model, resolve(model)))
    source = getattr(model, "source", model)
    return JobSubject(str(source), model, shape, source=world_of(model) or "hub")


def _shape(config: PreTrainedConfig) -> Shape:
    """Of a configuration; the parameters are those of its decoder, counted."""
    family, decoder = family_of(config, "model"), config.get_text_config()
    layers, hidden = decoder.num_hidden_layers, decoder.hidden_size
    layer = 4 * hidden**2 + 3 * hidden * decoder.intermediate_size
    billions = (layers * layer + 2 * hidden * decoder.vocab_size) / 1e9
    return Shape(family.key, billions, layers, hidden)
