"""From trained adapters to the folder of a model in parts, with its card."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError, safe_open

from lost_in_attention.evaluation.perplexity import surprise
from lost_in_attention.models import VisionLanguageModel, load
from lost_in_attention.models.joined import JoinedModel, in_parts, save_in_parts
from lost_in_attention.models.text_decoder import load_text_decoder
from lost_in_attention.pictures.drawings import SPLITS
from lost_in_attention.runs.files import replace_folder
from lost_in_attention.runs.provenance import versions, weights_digest
from lost_in_attention.statistics import mean_interval
from lost_in_attention.texts import NOVEL, passages
from lost_in_attention.training.accuracy import (
    EVALUATION_SEED,
    accuracies,
    accuracy_table,
)
from lost_in_attention.training.curve import write_curve
from lost_in_attention.training.joining import NAME, PHASES, SCALING, JoiningConfig
from lost_in_attention.training.tower import NAMED, STATE, TowerConfig
from lost_in_attention.training.tower import PHASES as TOWER_PHASES
from lost_in_attention.training.tower_scenes import TOKENS

PASSAGES = 100
# Names of the curve's columns, as its drawing tells accuracies.
_CURVES = {
    "objects": "objects_accuracy",
    "ground": "ground_accuracy",
    "answer_tokens": "answers_accuracy",
}

CARD = """---
license: mit
library_name: transformers
pipeline_tag: image-text-to-text
---

# {name}

A vision-language model in parts, of the stock class `{model_class}`: a vision tower of
{tower_millions:.1f} million parameters and adapters of {adapter_millions:.1f} million, both trained
here, for {decoder}. It sees scenes of drawn things, 128 x 128 pixels, as {visual_tokens} visual
tokens. {purpose}

## Data

Scenes drawn by `lost_in_attention.pictures` from the drawings of six artists; another artist's are
for validation, and the accuracies below are on a third group's, which no part of the model was
trained on. Sources and licences: `data/pictures/README.md`.

## Recipe

1. Tower, {tower_steps} steps of {tower_batch} crowded scenes of changed drawings: the output at
   every visual token names the noun that lies there, with the word embeddings of
   SmolLM2-135M-Instruct as the classifier; then {near_steps} steps that also draw it near the
   noun's embedding. Tokens of things that are named right: {named}.
2. Adapters (LoRA, rank {rank}, on all linear layers) learn from {batch} scenes a step with
   {questions_each} questions each; tower and decoder are frozen. {looking} steps ask in few words
   whether something is there, {mixed} the questions of all seven sets in turn, and {practice} more
   do so with the learning rate begun anew, as in each part that follows.
3. Column and row of every visual token can be read from the connector's output by a linear map, as
   the tower was asked for them too. The map is fitted, and the decoder's own embeddings of left,
   right, top and bottom are added in that measure, inside the connector's matrix. {placing} steps
   ask in few words where things lie and which is larger, {review} those of all seven sets again.

In 2 and 3 a second loss keeps predictions on texts that the decoder wrote itself near those without
adapters.

Seed {seed}, device {device}. To train it again:

{commands}

All settings and versions are in `training.json`, the curve in `training_curve.csv`.

![Loss and accuracy over the steps of all phases](training_curve.png)

## Accuracy

The seven embedded question sets on the held-out artist's drawings: {questions} questions each,
drawn with seed {evaluation_seed}, greedy decoding. `accuracy` is the benchmark's own; `low` and
`high` bound its 95% bootstrap interval over images. `blank` is the accuracy of the same questions
on a plain grey picture, `chance` that of guessing without looking.

{accuracy}

## Language

Perplexity on {passages} passages of a novel (`data/texts`), read as plain text: {joined:.1f}; the
decoder without adapters: {original:.1f}. Ratio {ratio:.3f} (95% interval {low:.3f} to {high:.3f}
over passages).
"""


SUBJECT = """It answers short English questions and was made to try measurements of the residual
stream and of attention on a pretrained decoder, on a laptop. It is no substitute for the paper's
models: its decoder has 135 million parameters, its weights were kept in four bits, and its tower
has seen drawings alone."""
CONTROL = """It is the control of `{subject}`: the same tower, recipe and number of steps, but the
decoder's own weights are random and stay so. It shows what adapters teach a decoder that has
learned no language."""


def read_tower(state: Path) -> dict[str, Any]:
    """The configuration, the curve and the accuracies of the run whose state `train_tower` keeps.

    Raises ValueError if `state` is not its `STATE`, or what it leaves beside that when it is
    complete is missing or cannot be read.
    """
    state = Path(state)
    said = state.with_name(NAMED)
    if state.name != STATE or not said.is_file():
        raise ValueError(
            f"tower: expected {STATE} of a complete run, with {NAMED} beside it, got {state.name} "
            f"in {sorted(path.name for path in state.parent.iterdir())}"
        )
    try:
        config = json.loads(state.with_name("config.json").read_text())["config"]
        TowerConfig(**config | {"rates": tuple(config["rates"])})
        named = json.loads(said.read_text())
        for split in SPLITS:
            float(named[split]["objects"])
        states = (state.with_name(f"{phase}.safetensors") for phase in TOWER_PHASES)
        curve = [row for each in states for row in _curve(each)]
    except (OSError, SafetensorError, LookupError, TypeError, ValueError) as error:
        raise ValueError(
            f"tower: expected the files of a complete run in {state.parent}, got some that do not "
            f"say what one does ({type(error).__name__}: {error})"
        ) from error
    return {"config": config, "curve": curve, "named": named}


def check_replaceable(folder: Path) -> None:
    """Raises ValueError unless a model can go to `folder`: it is not there, empty, or one in parts.

    What else lies there would be gone once the new one is in place.
    """
    taken = folder.is_symlink() or (folder.exists() and not in_parts(folder))
    if taken and not (folder.is_dir() and not any(folder.iterdir())):
        raise ValueError(
            f"output: expected nothing or a model in parts at {str(folder)!r}, got something else"
        )


def publish_joined(
    vlm: JoinedModel,
    config: JoiningConfig,
    *,
    tower: Mapping[str, Any],
    runs: Path,
    output: Path,
    questions: int,
    decoder: str | None = None,
) -> Path:
    """Write the trained model in parts into `output`/<name>, evaluated, with a card; its path.

    `tower` is what `read_tower` tells and `runs` where `train_adapters` kept its state; answers to
    the `questions` of each set are kept there too, so that this goes on after an interruption.
    """
    state = Path(runs) / config.name
    learned = (row for phase in PHASES for row in _curve(state / f"{phase}.safetensors"))
    curve = pd.DataFrame([*tower["curve"], *learned])
    output.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=output, prefix=".") as temporary:
        folder = Path(temporary) / config.name
        save_in_parts(vlm, folder, scaling=SCALING)
        write_curve(curve.rename(columns=_CURVES), folder)
        whole = load(folder, decoder=decoder)
        facts = {
            "commands": _commands(config, tower["config"], questions),
            "config": asdict(config),
            "tower": {key: tower[key] for key in ("config", "named")},
            "class": type(whole.model).__name__,
            "visual_tokens": TOKENS**2,
            "parameters": sum(p.numel() for p in whole.model.parameters()),
            "parts": _parts(whole, vlm),
            "weights": weights_digest(whole.model),
            "device": "cpu",
            "threads": torch.get_num_threads(),
            "versions": versions(),
            "evaluation": {"tier": "book", "questions": questions, "seed": EVALUATION_SEED},
            "perplexity": perplexity_ratio(whole, config, decoder),
            "accuracy": accuracies(
                whole, "pictures", questions=questions, replies=state / "replies"
            ),
        }
        (folder / "training.json").write_text(json.dumps(facts, indent=1) + "\n")
        (folder / "README.md").write_text(card(facts))
        replace_folder(folder, output / config.name)
    return output / config.name


def perplexity_ratio(
    joined: VisionLanguageModel, config: JoiningConfig, decoder: str | None
) -> dict[str, Any]:
    """Perplexity of the joined model, of its decoder without adapters, and their ratio."""
    plain = load_text_decoder(decoder, random_seed=config.random_decoder)
    samples = passages()[:PASSAGES]
    after, before = (surprise(vlm, samples) for vlm in (joined, plain))
    tokens = before["tokens"]
    change = mean_interval(
        after["surprise"] - before["surprise"], weights=tokens, seed=EVALUATION_SEED
    )
    return {
        "text": NOVEL,
        "passages": len(samples),
        "joined": _perplexity(after),
        "original": _perplexity(before),
        "ratio": float(np.exp(change.mean)),
        "low": float(np.exp(change.low)),
        "high": float(np.exp(change.high)),
    }


def _perplexity(table: pd.DataFrame) -> float:
    return float(np.exp(np.average(table["surprise"], weights=table["tokens"])))


def _curve(state: Path) -> list[dict]:
    with safe_open(state, framework="pt") as file:
        return json.loads(file.metadata()["curve"])


def _commands(config: JoiningConfig, tower: Mapping[str, Any], questions: int) -> list[str]:
    start = "python -m lost_in_attention"
    seeds = [f"--seed {config.seed}"]
    if config.random_decoder is not None:
        seeds.append(f"--random-decoder {config.random_decoder}")
    return [
        f"{start} tower --steps {tower['steps']} --seed {tower['seed']}",
        f"{start} join --steps {config.steps} {' '.join(seeds)} --questions {questions}",
    ]


def _parts(whole: VisionLanguageModel, adapted: JoinedModel) -> dict[str, int]:
    """How many parameters each part has; adapters are part of the decoder once they are loaded."""
    decoder = sum(p.numel() for p in whole.decoder.parameters())
    seeing = whole.model.model
    tower = sum(p.numel() for m in (seeing.vision_model, seeing.connector) for p in m.parameters())
    adapters = sum(p.numel() for n, p in adapted.decoder.named_parameters() if "lora_" in n)
    return {"decoder": decoder, "tower": tower, "adapters": adapters}


def card(facts: Mapping[str, Any]) -> str:
    """The model card, every number of it from the run."""
    config, tower = JoiningConfig(**facts["config"]), facts["tower"]
    named = ", ".join(f"{split} {100 * each['objects']:.0f}%" for split, each in
                      tower["named"].items())  # fmt: skip
    random = config.random_decoder
    decoder = (
        "SmolLM2-135M-Instruct, whose published weights are joined when it is loaded"
        if random is None
        else f"a decoder of the shape of SmolLM2-135M-Instruct with random weights, seed {random}"
    )
    return CARD.format(
        name=config.name,
        model_class=facts["class"],
        tower_millions=facts["parts"]["tower"] / 1e6,
        adapter_millions=facts["parts"]["adapters"] / 1e6,
        decoder=decoder,
        purpose=SUBJECT if random is None else CONTROL.format(subject=NAME),
        visual_tokens=facts["visual_tokens"],
        tower_steps=tower["config"]["steps"],
        near_steps=tower["config"]["near_steps"],
        tower_batch=tower["config"]["batch"],
        named=named,
        rank=config.rank,
        looking=min(config.looking, config.steps),
        mixed=max(0, config.steps - config.looking),
        practice=config.practice,
        placing=config.placing,
        review=config.review,
        batch=config.batch,
        questions_each=config.questions,
        seed=config.seed,
        device=facts["device"],
        commands="\n".join(f"    {command}" for command in facts["commands"]),
        questions=facts["evaluation"]["questions"],
        evaluation_seed=facts["evaluation"]["seed"],
        accuracy=accuracy_table(facts["accuracy"]),
        **{
            key: facts["perplexity"][key]
            for key in ("passages", "joined", "original", "ratio", "low", "high")
        },
    )
