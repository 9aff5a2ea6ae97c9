"""The whole recipe, from a seed to an ordinary Hugging Face folder."""

import json
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from lost_in_attention.digits import COLOURS, DIGIT_NAMES, make_scenes
from lost_in_attention.files import replaced_when_complete
from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.training.alignment import (
    GROUND,
    Aligner,
    alignment_loss,
    alignment_scenes,
)
from lost_in_attention.training.architecture import small_qwen, small_qwen_processor
from lost_in_attention.training.conversations import conversation
from lost_in_attention.training.dialogue import SceneStock, dialogue_loss
from lost_in_attention.training.loop import Phase, run_phase
from lost_in_attention.training.tokenizer import train_tokenizer

CORPUS_SCENES = 2000


@dataclass(frozen=True)
class TrainingConfig:
    """What decides the weights. The defaults are those of the models that are shipped."""

    name: str = "small-qwen2.5-vl"
    seed: int = 0
    alignment_steps: int = 1200
    alignment_batch: int = 32
    alignment_rate: float = 1e-3
    decoder_steps: int = 900
    decoder_batch: int = 64
    decoder_rate: float = 2e-3
    decoder_scenes: int = 8000
    joint_steps: int = 200
    joint_batch: int = 32
    joint_rate: float = 2e-4

    def __post_init__(self) -> None:
        for field in ("alignment_steps", "decoder_steps", "joint_steps"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field}: expected at least 1, got {getattr(self, field)}")
        if self.decoder_batch > self.decoder_scenes:
            raise ValueError(
                f"decoder_batch: expected at most decoder_scenes = {self.decoder_scenes}, "
                f"got {self.decoder_batch}"
            )


def train(config: TrainingConfig, *, runs: Path, device: str = "cpu") -> VisionLanguageModel:
    """Train a small model; resumes from `runs`/name if it was interrupted.

    Weights of chosen steps (bf16) land in `runs`/name/checkpoints, the training curve in
    curve.json.  Raises ValueError if that folder belongs to another configuration.
    """
    folder = Path(runs) / config.name
    _claim_folder(folder, config)
    tokenizer = train_tokenizer(_corpus(config.seed))
    vlm = VisionLanguageModel(
        small_qwen(tokenizer, seed=config.seed).to(device).train(),
        small_qwen_processor(tokenizer),
        config.name,
    )
    _snapshot(vlm, folder, 0)
    curve = run_phase(_alignment(vlm, config), folder)
    vlm.model.model.visual.requires_grad_(False)
    curve += run_phase(
        _decoder(vlm, config),
        folder,
        snapshot_steps=snapshot_steps(config.decoder_steps),
        snapshot=lambda step: _snapshot(vlm, folder, config.alignment_steps + step),
    )
    _snapshot(vlm, folder, config.alignment_steps + config.decoder_steps)
    vlm.model.model.visual.requires_grad_(True)
    curve += run_phase(_joint(vlm, config), folder)
    total = config.alignment_steps + config.decoder_steps + config.joint_steps
    _snapshot(vlm, folder, total)
    with replaced_when_complete(folder / "curve.json") as path:
        path.write_text(json.dumps(curve))
    vlm.model.eval()
    return vlm


def snapshot_steps(steps: int) -> list[int]:
    """0 and up to six further steps of a phase, spread evenly on a logarithmic scale."""
    return [0, *sorted({int(s) for s in np.geomspace(10, steps / 2, 6)})]


def _alignment(vlm: VisionLanguageModel, config: TrainingConfig) -> Phase:
    aligner = Aligner(vlm).to(vlm.device)

    def loss(step: int):
        scenes = alignment_scenes(step, batch=config.alignment_batch, seed=_seed(config, 1))
        return alignment_loss(aligner, vlm, scenes)

    return Phase(
        "alignment", config.alignment_steps, config.alignment_rate, 100, aligner,
        aligner.trainable(), loss,
    )  # fmt: skip


def _decoder(vlm: VisionLanguageModel, config: TrainingConfig) -> Phase:
    @cache
    def stock() -> SceneStock:
        return SceneStock(vlm, config.decoder_scenes, seed=_seed(config, 2))

    def loss(step: int):
        rng = np.random.default_rng([_seed(config, 3), step])
        return dialogue_loss(vlm, *stock().batch(config.decoder_batch, rng), rng)

    trainable = [p for p in vlm.model.parameters() if p.requires_grad]
    return Phase(
        "decoder", config.decoder_steps, config.decoder_rate, 100, vlm.model, trainable, loss
    )


def _joint(vlm: VisionLanguageModel, config: TrainingConfig) -> Phase:
    def loss(step: int):
        rng = np.random.default_rng([_seed(config, 4), step])
        first = step * config.joint_batch
        scenes = list(
            make_scenes(
                config.joint_batch, split="train", seed=_seed(config, 5), first=first, augment=True
            )
        )
        features = vlm.encode_images([scene.image for scene in scenes])
        return dialogue_loss(vlm, scenes, features, rng)

    return Phase(
        "joint", config.joint_steps, config.joint_rate, 30, vlm.model,
        list(vlm.model.parameters()), loss,
    )  # fmt: skip


def _seed(config: TrainingConfig, purpose: int) -> int:
    """A seed of its own for each purpose, so that no two phases share scenes."""
    return 1000 * (config.seed + 1) + purpose


def _corpus(seed: int) -> list[str]:
    rng = np.random.default_rng([seed, 0])
    lines = [f" {word}" for word in (*DIGIT_NAMES, *COLOURS, GROUND, "user", "assistant")] * 50
    for scene in make_scenes(CORPUS_SCENES, split="train", seed=1000 * (seed + 1)):
        lines += [f" {text}" for turn in conversation(scene, rng) for text in turn]
    return lines


def _snapshot(vlm: VisionLanguageModel, folder: Path, step: int) -> None:
    weights = {
        key: value.detach().to(torch.bfloat16).contiguous()
        for key, value in vlm.model.state_dict().items()
        if key != "lm_head.weight"
    }
    with replaced_when_complete(folder / "checkpoints" / f"step-{step:05d}.safetensors") as path:
        save_file(weights, path, {"step": str(step)})


def _claim_folder(folder: Path, config: TrainingConfig) -> None:
    wanted = json.dumps(asdict(config), indent=2)
    path = folder / "config.json"
    if path.exists() and path.read_text() != wanted:
        raise ValueError(
            f"runs: {folder} holds a run with another configuration; "
            f"expected {wanted}, got {path.read_text()}"
        )
    with replaced_when_complete(path) as temporary:
        temporary.write_text(wanted)
