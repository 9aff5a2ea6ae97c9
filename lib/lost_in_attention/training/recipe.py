"""The whole recipe, from a seed to an ordinary Hugging Face folder."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from lost_in_attention.digits import COLOURS, DIGIT_NAMES
from lost_in_attention.models import VisionLanguageModel, load
from lost_in_attention.runs.files import replaced_when_complete
from lost_in_attention.training.alignment import GROUND, Aligner, alignment_loss
from lost_in_attention.training.architecture import ARCHITECTURES
from lost_in_attention.training.conversations import (
    EVERYTHING,
    LOOKING,
    PLAIN,
    WORDS,
    Lesson,
    list_conversation,
    question_conversation,
)
from lost_in_attention.training.dialogue import SceneStock, dialogue_loss
from lost_in_attention.training.digit_scenes import training_scenes
from lost_in_attention.training.loop import Phase, Rates, claim_folder, run_phase
from lost_in_attention.training.tokenizer import train_tokenizer

CORPUS_SCENES = 2000
_COUNTED = ("seed", "looking_steps", "plain_steps")
_POSITIVE = (
    "alignment_steps", "alignment_batch", "decoder_batch", "words_steps", "joint_steps",
    "joint_batch",
)  # fmt: skip


@dataclass(frozen=True)
class TrainingConfig:
    """What decides the weights. The defaults are those of the models that are shipped.

    `starts_from` names a model that is trained already: its weights are the first ones, wherever
    name and shape agree.
    """

    name: str = "small-qwen2.5-vl"
    architecture: str = "qwen2.5-vl"
    seed: int = 0
    starts_from: str | None = None
    alignment_steps: int = 1500
    alignment_batch: int = 32
    alignment_rates: tuple[float, float] = (1e-2, 1e-3)
    looking_steps: int = 500
    plain_steps: int = 1000
    decoder_steps: int = 2600
    decoder_batch: int = 32
    decoder_rates: tuple[float, float] = (1e-2, 2e-3)
    decoder_scenes: int = 8000
    words_steps: int = 300
    words_rates: tuple[float, float] = (5e-3, 1e-3)
    joint_steps: int = 100
    joint_batch: int = 32
    joint_rates: tuple[float, float] = (1e-3, 2e-4)

    def __post_init__(self) -> None:
        if self.architecture not in ARCHITECTURES:
            raise ValueError(
                f"architecture: expected one of {sorted(ARCHITECTURES)}, got {self.architecture!r}"
            )
        # Who starts from a trained decoder may go straight to the words.
        least = dict.fromkeys(_POSITIVE, 1) | {"decoder_steps": int(self.starts_from is None)}
        for field, value in (dict.fromkeys(_COUNTED, 0) | least).items():
            if getattr(self, field) < value:
                raise ValueError(f"{field}: expected at least {value}, got {getattr(self, field)}")
        if self.decoder_batch > self.decoder_scenes:
            raise ValueError(
                f"decoder_batch: expected at most decoder_scenes = {self.decoder_scenes}, "
                f"got {self.decoder_batch}"
            )

    @property
    def steps(self) -> int:
        """Of all phases together."""
        return self.alignment_steps + self.decoder_steps + self.words_steps + self.joint_steps


def train(config: TrainingConfig, *, runs: Path, device: str = "cpu") -> VisionLanguageModel:
    """Train a small model; resumes from `runs`/name if it was interrupted.

    Weights of chosen steps (bf16) land in `runs`/name/checkpoints, the training curve in
    curve.json.  Raises ValueError if that folder belongs to another configuration or
    cannot be written.
    """
    folder = Path(runs) / config.name
    claim_folder(folder, config)
    tokenizer = train_tokenizer(_corpus())
    model, processor = ARCHITECTURES[config.architecture].build(tokenizer, seed=config.seed)
    if config.starts_from:
        _inherit(model, config.starts_from)
    vlm = VisionLanguageModel(model.to(device).train(), processor, config.name)
    _snapshot(vlm, folder, 0)
    curve = run_phase(_alignment(vlm, config), folder)
    _see(vlm, trainable=False)
    curve += run_phase(
        _decoder(vlm, config),
        folder,
        snapshot_steps=snapshot_steps(config.decoder_steps),
        snapshot=lambda step: _snapshot(vlm, folder, config.alignment_steps + step),
    )
    _snapshot(vlm, folder, config.alignment_steps + config.decoder_steps)
    curve += run_phase(_words(vlm, config), folder)
    _see(vlm, trainable=True)
    curve += run_phase(_joint(vlm, config), folder)
    _snapshot(vlm, folder, config.steps)
    with replaced_when_complete(folder / "curve.json") as path:
        path.write_text(json.dumps(curve))
    vlm.model.eval()
    return vlm


def snapshot_steps(steps: int) -> list[int]:
    """0 and up to six further steps of a phase, spread evenly on a logarithmic scale.

    None of a phase without steps.
    """
    if steps == 0:
        return []
    return [0, *sorted({int(s) for s in np.geomspace(10, steps / 2, 6)})]


def lesson_at(step: int, config: TrainingConfig) -> Lesson:
    """What a step of the decoder's phase teaches: looking, then plain questions, then all."""
    if step < config.looking_steps:
        return LOOKING
    return PLAIN if step < config.looking_steps + config.plain_steps else EVERYTHING


def _inherit(model: PreTrainedModel, name: str) -> None:
    """Families whose parts are alike share their weights' names."""
    own, given = model.state_dict(), load(name).model.state_dict()
    model.load_state_dict(
        {key: w for key, w in given.items() if key in own and own[key].shape == w.shape},
        strict=False,
    )


def _alignment(vlm: VisionLanguageModel, config: TrainingConfig) -> Phase:
    aligner = Aligner(vlm).to(vlm.device)

    def loss(step: int):
        batch = config.alignment_batch
        scenes = training_scenes(batch, seed=_seed(config, 1), first=step * batch)
        return alignment_loss(aligner, vlm, scenes)

    return Phase(
        "alignment", config.alignment_steps, Rates(*config.alignment_rates), 100, aligner,
        aligner.trainable(), loss,
    )  # fmt: skip


def _decoder(vlm: VisionLanguageModel, config: TrainingConfig) -> Phase:
    return Phase(
        "decoder", config.decoder_steps, Rates(*config.decoder_rates), 50, vlm.model,
        _free(vlm), _dialogues(vlm, config, 2, lambda step: lesson_at(step, config)),
    )  # fmt: skip


def _words(vlm: VisionLanguageModel, config: TrainingConfig) -> Phase:
    return Phase(
        "words", config.words_steps, Rates(*config.words_rates), 20, vlm.model,
        _free(vlm), _dialogues(vlm, config, 6, lambda step: WORDS),
    )  # fmt: skip


def _dialogues(
    vlm: VisionLanguageModel,
    config: TrainingConfig,
    purpose: int,
    lesson: Callable[[int], Lesson],
) -> Callable[[int], tuple[Tensor, dict[str, float]]]:
    """The loss of each step on a stock of scenes with the frozen tower's output."""

    @cache
    def stock() -> SceneStock:
        return SceneStock(vlm, config.decoder_scenes, seed=_seed(config, purpose))

    def loss(step: int):
        rng = np.random.default_rng([_seed(config, purpose + 1), step])
        batch = stock().batch(config.decoder_batch, rng)
        return dialogue_loss(vlm, *batch, lesson(step), rng)

    return loss


def _free(vlm: VisionLanguageModel) -> list[nn.Parameter]:
    return [p for p in vlm.model.parameters() if p.requires_grad]


def _joint(vlm: VisionLanguageModel, config: TrainingConfig) -> Phase:
    def loss(step: int):
        rng = np.random.default_rng([_seed(config, 4), step])
        batch = config.joint_batch
        scenes = training_scenes(batch, seed=_seed(config, 5), first=step * batch)
        features = vlm.encode_images([scene.image for scene in scenes])
        return dialogue_loss(vlm, scenes, features, WORDS, rng)

    return Phase(
        "joint", config.joint_steps, Rates(*config.joint_rates), 20, vlm.model,
        list(vlm.model.parameters()), loss,
    )  # fmt: skip


def _see(vlm: VisionLanguageModel, *, trainable: bool) -> None:
    """Freeze or free everything outside the decoder."""
    vlm.model.model.requires_grad_(trainable)
    vlm.decoder.requires_grad_(True)


def _seed(config: TrainingConfig, purpose: int) -> int:
    """A seed of its own for each purpose, so that no two phases share scenes."""
    return 1000 * (config.seed + 1) + purpose


def _corpus() -> list[str]:
    """The same for every model: so all share one vocabulary."""
    rng = np.random.default_rng(0)
    lines = [f" {word}" for word in (*DIGIT_NAMES, *COLOURS, GROUND, "user", "assistant")] * 50
    for scene in training_scenes(CORPUS_SCENES, seed=0):
        turns = list_conversation(scene, EVERYTHING, rng)
        turns += question_conversation(scene, EVERYTHING, rng)
        lines += [f" {part}" for turn in turns for part in turn[:2]]
    return lines


def _snapshot(vlm: VisionLanguageModel, folder: Path, step: int) -> None:
    weights = {
        key: value.detach().to(torch.bfloat16).contiguous()
        for key, value in vlm.model.state_dict().items()
        if key != "lm_head.weight"
    }
    with replaced_when_complete(folder / "checkpoints" / f"step-{step:05d}.safetensors") as path:
        save_file(weights, path, {"step": str(step)})
