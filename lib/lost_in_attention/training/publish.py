"""From a finished training run to a model folder with its card."""

import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import pandas as pd
import torch

from lost_in_attention.benchmarks import BENCHMARKS, load_benchmark
from lost_in_attention.digits.glyphs import SPLIT_SIZES
from lost_in_attention.evaluate import evaluate
from lost_in_attention.models import VisionLanguageModel, load
from lost_in_attention.plots import use_house_style
from lost_in_attention.provenance import device as device_name
from lost_in_attention.provenance import versions
from lost_in_attention.stats import mean_interval
from lost_in_attention.training.recipe import TrainingConfig, train

QUESTIONS = 1500
EVALUATION_SEED = 0

CARD = """---
license: mit
library_name: transformers
pipeline_tag: image-text-to-text
---

# {name}

A vision-language model of {millions:.1f} million parameters, of the stock
class `Qwen2_5_VLForConditionalGeneration`. It answers short English questions on scenes of
handwritten digits, 96 x 96 pixels, which it sees as 8 x 8 visual tokens. It was made to try
measurements of the residual stream and of attention on a laptop. It is no substitute for a
published model, and what it shows need not hold for one.

## Data

Scenes drawn by `lost_in_attention.digits` from {train_images} of scikit-learn's 1,797
handwritten digits; {heldout_images} others are held out for evaluation. Digits are turned
and sheared a little in training.

## Recipe

1. Alignment, {alignment_steps} steps of {alignment_batch} scenes: the vision
   tower names digit and colour under every visual token, with the decoder's word embeddings as
   the classifier.
2. Decoder, {decoder_steps} steps of {decoder_batch} conversations on
   {decoder_scenes} scenes, vision tower frozen.
3. Joint, {joint_steps} steps of {joint_batch} conversations, all weights.

Seed {seed}, device {device}. To train it again:

    {command}

All settings and versions are in `training.json`, the curve in `training_curve.csv`.

![Loss and accuracy over the steps of the three phases](training_curve.png)

## Accuracy

POPE's existence questions on scenes of held-out digits, {questions} questions drawn with seed
{evaluation_seed}, greedy decoding through processor, chat template, `generate` and parser. `low`
and `high` bound the 95% bootstrap interval of the accuracy over images. With blank images the same
questions are asked on a plain grey picture. Colours, counts and relations are taught but not scored
here; do not rely on them.

{accuracy}
"""


def train_and_publish(config: TrainingConfig, *, runs: Path, output: Path, device: str) -> Path:
    """Train (or go on), save `output`/name as an ordinary Hugging Face folder, return it.

    The weights of chosen training steps land in `output`/checkpoints/name.  An older
    folder of the same name is replaced when the new one is complete.
    """
    vlm = train(config, runs=runs, device=device)
    run = Path(runs) / config.name
    output.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=output, prefix=".") as temporary:
        folder = Path(temporary) / config.name
        vlm.model.save_pretrained(folder)
        vlm.processor.save_pretrained(folder)
        curve = pd.DataFrame(json.loads((run / "curve.json").read_text()))
        curve.to_csv(folder / "training_curve.csv", index=False)
        _draw_curve(curve, folder / "training_curve.png")
        facts = {
            "command": f"python -m lost_in_attention train --name {config.name} "
            f"--seed {config.seed} --device {device}",
            "config": asdict(config),
            "parameters": sum(p.numel() for p in vlm.model.parameters()),
            "device": device_name() if device != "cpu" else "cpu",
            "threads": torch.get_num_threads(),
            "versions": versions(),
            "evaluation": {"tier": "book", "questions": QUESTIONS, "seed": EVALUATION_SEED},
            "accuracy": accuracies(load(folder, device=device)),
        }
        (folder / "training.json").write_text(json.dumps(facts, indent=1) + "\n")
        (folder / "README.md").write_text(card(facts))
        _replace(folder, output / config.name)
        checkpoints = Path(temporary) / "checkpoints"
        shutil.copytree(run / "checkpoints", checkpoints)
        _replace(checkpoints, output / "checkpoints" / config.name)
    return output / config.name


def accuracies(vlm: VisionLanguageModel) -> list[dict]:
    """POPE scores on held-out digits, with the images and with blank ones, by group."""
    samples = load_benchmark("pope").draw(QUESTIONS, seed=EVALUATION_SEED)
    rows = []
    for condition, asked in (("images", samples), ("blank images", samples.blanked())):
        replies = evaluate(vlm, asked, benchmark="pope")
        parts = [("all", replies), *replies.groupby("group")]
        for group, part in parts:
            # Questions on one image are not independent: resample images.
            interval = mean_interval(
                part["correct"], units=part["image_source"], seed=EVALUATION_SEED
            )
            scores = BENCHMARKS["pope"].score(part)
            rows.append(
                {
                    "condition": condition,
                    "group": group,
                    "questions": len(part),
                    "low": interval.low,
                    "high": interval.high,
                    # JSON knows no nan: a precision without any "yes" is null.
                    **{key: None if math.isnan(value) else value for key, value in scores.items()},
                }
            )
    return rows


def card(facts: Mapping) -> str:
    """The model card, every number of it from the run."""
    columns = ["condition", "group", "questions", "accuracy", "low", "high"]
    columns += ["yes_ratio", "unparsed"]
    rows = pd.DataFrame(facts["accuracy"])[columns].itertuples(index=False)
    lines = [columns, ["---"] * len(columns), *rows]
    table = [[v if isinstance(v, str) else f"{v:.4g}" for v in line] for line in lines]
    return CARD.format(
        **facts["config"],
        command=facts["command"],
        device=facts["device"],
        millions=facts["parameters"] / 1e6,
        train_images=SPLIT_SIZES["train"],
        heldout_images=SPLIT_SIZES["heldout"],
        questions=facts["evaluation"]["questions"],
        evaluation_seed=facts["evaluation"]["seed"],
        accuracy="\n".join(f"| {' | '.join(line)} |" for line in table),
    )


def _draw_curve(curve: pd.DataFrame, path: Path) -> None:
    use_house_style()
    accuracy = [column for column in curve if column.endswith("accuracy")]
    phases = curve["phase"].unique()
    fig, axes = plt.subplots(1, len(phases), figsize=(10, 3.2), layout="constrained")
    for ax, phase in zip(axes, phases, strict=True):
        rows = curve[curve["phase"] == phase].set_index("step")
        for column in ["loss", *accuracy]:
            if rows[column].notna().any():
                smooth = rows[column].rolling(5, min_periods=1).mean()
                ax.plot(smooth, label=column.replace("_", " "))
        ax.set(title=phase, xlabel="step", ylim=(0, None))
        ax.legend(frameon=False)
    fig.savefig(path, dpi=110)
    plt.close(fig)


def _replace(new: Path, old: Path) -> None:
    if old.exists():
        shutil.rmtree(old)
    old.parent.mkdir(parents=True, exist_ok=True)
    new.rename(old)
