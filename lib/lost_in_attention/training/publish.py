"""From a finished training run to a model folder with its card."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import torch

from lost_in_attention.digits.glyphs import SPLIT_SIZES
from lost_in_attention.models import VisionLanguageModel, load
from lost_in_attention.runs.files import replace_folder
from lost_in_attention.runs.paths import check_writable
from lost_in_attention.runs.provenance import device as device_name
from lost_in_attention.runs.provenance import versions
from lost_in_attention.training.accuracy import (
    EVALUATION_SEED,
    QUESTIONS,
    accuracies,
    accuracy_table,
)
from lost_in_attention.training.curve import write_curve
from lost_in_attention.training.digit_scenes import training_scenes
from lost_in_attention.training.recipe import TrainingConfig, train

CARD = """---
license: mit
library_name: transformers
pipeline_tag: image-text-to-text
---

# {name}

A vision-language model of {millions:.1f} million parameters, of the stock class
`{model_class}`. It answers short English questions on scenes of handwritten digits,
96 x 96 pixels, which it sees as {visual_tokens} visual tokens. It was made to try measurements
of the residual stream and of attention on a laptop. It is no substitute for a published model,
and what it shows need not hold for one.

## Data

Scenes drawn by `lost_in_attention.digits` from {train_images} of scikit-learn's 1,797
handwritten digits; {heldout_images} others are held out for evaluation. Digits are turned
and sheared a little in training.

## Recipe

{start}

1. Alignment, {alignment_steps} steps of {alignment_batch} scenes: the vision
   tower names digit and colour under every visual token, with the decoder's word embeddings as
   the classifier.
2. Decoder, {decoder_steps} steps of {decoder_batch} conversations on
   {decoder_scenes} scenes, vision tower frozen{lessons}.
3. Words, {words_steps} steps like those before: options are answered by their words instead of
   their letters. The scorers accept both; letters alone stayed at chance.
4. Joint, {joint_steps} steps of {joint_batch} conversations, all weights.

Muon for weight matrices, AdamW for the rest.

Seed {seed}, device {device}. To train it again:

    {command}

All settings and versions are in `training.json`, the curve in `training_curve.csv`.

![Loss and accuracy over the steps of the three phases](training_curve.png)

## Accuracy

The seven embedded question sets, on scenes of held-out digits: {questions} questions each,
drawn with seed {evaluation_seed}, greedy decoding through processor, chat template, `generate`
and parser.
`accuracy` is the benchmark's own: the share of right replies, in VMCBench the mean of the shares
of its sources; `low` and `high` bound its 95% bootstrap interval over images. `blank` is the
accuracy of the same questions on a plain grey picture, `chance` that of guessing without looking.

{accuracy}
"""


def train_and_publish(
    config: TrainingConfig, *, runs: Path, output: Path, device: str, checkpoints: bool
) -> Path:
    """Train (or go on), save `output`/name as an ordinary Hugging Face folder, return it.

    With `checkpoints` the weights of chosen training steps land in `output`/checkpoints/name.
    An older folder of the same name is whole until the new one is complete and in place.

    Raises, before any training: ValueError if `output` cannot be written, and what `train` raises.
    """
    check_writable("output", output)
    output.mkdir(parents=True, exist_ok=True)
    vlm = train(config, runs=runs, device=device)
    run = Path(runs) / config.name
    with TemporaryDirectory(dir=output, prefix=".") as temporary:
        folder = Path(temporary) / config.name
        vlm.model.save_pretrained(folder)
        vlm.processor.save_pretrained(folder)
        curve = pd.DataFrame(json.loads((run / "curve.json").read_text()))
        write_curve(curve, folder)
        facts = {
            "command": f"python -m lost_in_attention train --name {config.name} --device {device}",
            "config": asdict(config),
            "class": type(vlm.model).__name__,
            "visual_tokens": visual_tokens(vlm),
            "parameters": sum(p.numel() for p in vlm.model.parameters()),
            "device": device_name() if device != "cpu" else "cpu",
            "threads": torch.get_num_threads(),
            "versions": versions(),
            "evaluation": {"tier": "book", "questions": QUESTIONS, "seed": EVALUATION_SEED},
            "accuracy": accuracies(load(folder, device=device), questions=QUESTIONS),
        }
        (folder / "training.json").write_text(json.dumps(facts, indent=1) + "\n")
        (folder / "README.md").write_text(card(facts))
        if checkpoints:
            copy = Path(temporary) / "checkpoints"
            shutil.copytree(run / "checkpoints", copy)
            replace_folder(copy, output / "checkpoints" / config.name)
        replace_folder(folder, output / config.name)
    return output / config.name


def visual_tokens(vlm: VisionLanguageModel) -> int:
    """How many visual tokens a scene becomes, its tiles included."""
    [scene] = training_scenes(1, seed=0)
    return len(vlm.encode_images([scene.image])[0])


def card(facts: Mapping) -> str:
    """The model card, every number of it from the run."""
    config = TrainingConfig(**facts["config"])
    return CARD.format(
        **facts["config"],
        start=_start(config),
        lessons=_lessons(config),
        command=facts["command"],
        device=facts["device"],
        millions=facts["parameters"] / 1e6,
        train_images=SPLIT_SIZES["train"],
        heldout_images=SPLIT_SIZES["heldout"],
        questions=facts["evaluation"]["questions"],
        evaluation_seed=facts["evaluation"]["seed"],
        model_class=facts["class"],
        visual_tokens=facts["visual_tokens"],
        accuracy=accuracy_table(facts["accuracy"]),
    )


def _start(config: TrainingConfig) -> str:
    if config.starts_from is None:
        return "All weights start at random."
    return (
        f"Weights start as those of `{config.starts_from}` wherever name and shape agree, at "
        "random elsewhere: the two models are no independent witnesses."
    )


def _lessons(config: TrainingConfig) -> str:
    stages = [
        (config.looking_steps, "to look digits up and to tell whether there is one"),
        (config.plain_steps, "all kinds of questions without options"),
        (
            config.decoder_steps - config.looking_steps - config.plain_steps,
            "them in the benchmarks' wording",
        ),
    ]
    told = [f"{steps} steps teach {what}" for steps, what in stages if steps]
    return f": {'; '.join(told)}" if told else ""
