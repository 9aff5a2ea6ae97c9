"""A tower for a decoder that is trained already: it learns to name what lies under each token.

The decoder's own word embeddings, frozen, are the classifier: the connector's output at a token
that shows a cow should point from the words' mean towards " cow", rather than to any other noun or
to " nothing" (most of a word's embedding is that mean, which tells nothing).  A linear probe,
thrown away afterwards, asks every token for its column and row.  Drawings are changed little at
first and more from step to step: so the tower finds out sooner what there is to learn.

A direction is not yet a word that the decoder knows.  A second loss draws the output to the
embedding itself, a little at first and, once most tokens are named right, with full weight.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoTokenizer, LlamaConfig, SmolVLMConfig
from transformers.models.smolvlm.modeling_smolvlm import (
    SmolVLMConnector,
    SmolVLMVisionTransformer,
)

from lost_in_attention.models.reading import read_decoder
from lost_in_attention.models.smollm2 import smollm2
from lost_in_attention.pictures.drawings import SPLITS, groups
from lost_in_attention.pictures.scenes import IMAGE_SIZE
from lost_in_attention.runs.files import replaced_when_complete
from lost_in_attention.runs.numbers import check_rate, check_seed, check_whole
from lost_in_attention.runs.paths import check_writable
from lost_in_attention.runs.provenance import weights_digest
from lost_in_attention.training.loop import Phase, Rates, claim_folder, run_phase
from lost_in_attention.training.tower_scenes import (
    NOTHING,
    TOKENS,
    LabelledScene,
    crowded_scene,
    plain_scene,
)

NOTHING_WORD = "nothing"
PATCH = 8
# The weight of the second loss in either phase, and the second phase's share of the first's rates.
_NEARNESS = {"tower": 0.05, "nearness": 1.0}
_NEAR_RATES = 0.2
_PLACES = 0.1
PHASES = tuple(_NEARNESS)
# The state after the last phase.
STATE = f"{PHASES[-1]}.safetensors"
# The file of accuracies on each split's unchanged drawings.
NAMED = "named.json"
_NAMED_SCENES = 500
_CHECK_EVERY = 500
_CHECKED = 96
_SAVE_EVERY = 50


@dataclass(frozen=True)
class TowerConfig:
    """What decides the tower's weights; after `easing` steps drawings are changed in full.

    `near_steps` are those of the second phase.
    """

    seed: int = 0
    steps: int = 8000
    near_steps: int = 600
    batch: int = 24
    rates: tuple[float, float] = (1e-2, 1e-3)
    warmup: int = 100
    easing: int = 2000

    def __post_init__(self) -> None:
        for field in ("steps", "near_steps", "batch", "warmup", "easing"):
            check_whole(field, getattr(self, field), least=1)
        check_seed("seed", self.seed)
        for rate in self.rates:
            check_rate("rates", rate)


@dataclass(frozen=True)
class _Run:
    """What decides a run: its configuration and a digest of the decoder's word vectors."""

    config: TowerConfig
    words: str


def vlm_config(decoder: str) -> SmolVLMConfig:
    """SmolVLM with the given decoder: a picture of 128 x 128 pixels becomes 8 x 8 visual tokens."""
    tower = {
        "hidden_size": 192,
        "intermediate_size": 768,
        "num_hidden_layers": 6,
        "num_attention_heads": 3,
        "image_size": IMAGE_SIZE,
        "patch_size": PATCH,
        "initializer_range": 192**-0.5,
    }
    text = LlamaConfig.from_pretrained(decoder)
    return SmolVLMConfig(vision_config=tower, text_config=text, scale_factor=2)


def word_vectors(decoder: str, words: tuple[str, ...]) -> Float[Tensor, "words hidden"]:
    """The decoder's input embedding of each word after a space; of several tokens, their mean.

    Raises what `read_decoder` does.
    """
    embeddings = read_decoder(decoder).get_input_embeddings().weight.detach()
    tokenizer = AutoTokenizer.from_pretrained(decoder)
    ids = [tokenizer(f" {word}", add_special_tokens=False)["input_ids"] for word in words]
    return torch.stack([embeddings[each].mean(0) for each in ids])


class Tower(nn.Module):
    """Vision tower and connector under the names that they have in SmolVLM."""

    def __init__(self, config: SmolVLMConfig, words: Float[Tensor, "words hidden"]) -> None:
        super().__init__()
        self.vision_model = SmolVLMVisionTransformer(config.vision_config)
        self.connector = SmolVLMConnector(config)
        projection = self.connector.modality_projection.proj
        nn.init.normal_(projection.weight, std=words.std().item() * projection.in_features**-0.5)
        self.log_scale = nn.Parameter(torch.tensor(3.0))
        self.places = nn.Linear(words.shape[1], 2 * TOKENS)
        self.register_buffer("words", words, persistent=False)

    def forward(self, pixels: Float[Tensor, "images 3 128 128"]) -> Float[Tensor, "tokens hidden"]:
        """The connector's output for all images' visual tokens, row by row."""
        with torch.autocast(pixels.device.type, torch.bfloat16):
            seen = self.connector(self.vision_model(pixel_values=pixels).last_hidden_state)
        return seen.flatten(0, 1).float()

    def scores(self, features: Float[Tensor, "tokens hidden"]) -> Float[Tensor, "tokens words"]:
        """Cosines between features and words, both from the words' mean, times a learned scale."""
        mean = self.words.mean(0)
        directions = F.normalize(self.words - mean, dim=1)
        return self.log_scale.exp() * F.normalize(features - mean, dim=1) @ directions.T


def train_tower(config: TowerConfig, *, runs: Path, decoder: str | None = None) -> Tower:
    """Train the tower, or go on with it, in the folder `runs`/tower.

    `STATE` is what it keeps there at the end; `NAMED` says what it names right, split by split.

    Raises ValueError if that folder belongs to another configuration or decoder or cannot be
    written, and what `smollm2` and `read_decoder` do.
    """
    folder = Path(runs) / "tower"
    check_writable("runs", folder)
    source = smollm2(decoder)
    words = word_vectors(source, (*groups(), NOTHING_WORD))
    torch.manual_seed(config.seed)
    tower = Tower(vlm_config(source), words)
    claim_folder(folder, _Run(config, weights_digest(nn.ParameterDict({"words": words}))))
    for phase in _phases(tower, config):
        run_phase(phase, folder)
    tower.eval()
    found = {split: named(tower, split, scenes=_NAMED_SCENES) for split in SPLITS}
    with replaced_when_complete(folder / NAMED) as part:
        part.write_text(json.dumps(found, indent=1) + "\n")
    return tower


def _phases(tower: Tower, config: TowerConfig) -> tuple[Phase, Phase]:
    """The second one goes on with the scenes that follow those of the first."""
    parts = (tower, list(tower.parameters()))
    first, second = PHASES
    slower = Rates(*(_NEAR_RATES * rate for rate in config.rates))
    return (
        Phase(first, config.steps, Rates(*config.rates), config.warmup, *parts,
              lambda step: _loss(tower, config, step, _NEARNESS[first]), save_every=_SAVE_EVERY),
        Phase(second, config.near_steps, slower, config.warmup, *parts,
              lambda step: _loss(tower, config, config.steps + step, _NEARNESS[second]),
              save_every=_SAVE_EVERY),
    )  # fmt: skip


def _loss(
    tower: Tower, config: TowerConfig, step: int, nearness: float
) -> tuple[Tensor, dict[str, float]]:
    nouns = tuple(groups())
    strength = min(1.0, step / config.easing)
    scenes_of_step = range(step * config.batch, (step + 1) * config.batch)
    rngs = [np.random.default_rng([config.seed, 1, index]) for index in scenes_of_step]
    scenes = [crowded_scene("train", nouns, strength, rng) for rng in rngs]
    features, labels = tower(as_pixels(scenes)), as_labels(scenes, len(nouns))
    clear = labels >= 0
    scores = tower.scores(features[clear])
    near = F.mse_loss(features[clear], tower.words[labels[clear]]) / tower.words.var()
    loss = F.cross_entropy(scores, labels[clear]) + nearness * near
    loss = loss + _PLACES * _places_loss(tower, features)
    numbers = accuracies(scores, labels[clear]) | {"distance": near.item()}
    if step % _CHECK_EVERY == 0:
        numbers |= {
            f"{s}_accuracy": named(tower, s, scenes=_CHECKED)["objects"]
            for s in ("train", "validation")
        }
    return loss, numbers


def _places_loss(tower: Tower, features: Float[Tensor, "tokens hidden"]) -> Tensor:
    cells = torch.arange(TOKENS**2).repeat(len(features) // TOKENS**2)
    columns, rows = tower.places(features).split(TOKENS, dim=-1)
    return F.cross_entropy(columns, cells % TOKENS) + F.cross_entropy(rows, cells // TOKENS)


def as_pixels(scenes: list[LabelledScene]) -> Float[Tensor, "images 3 128 128"]:
    """From -1 to 1, as SmolVLM's image processor gives them."""
    pixels = torch.from_numpy(np.stack([scene.pixels for scene in scenes]))
    return pixels.permute(0, 3, 1, 2).float() / 127.5 - 1


def as_labels(scenes: list[LabelledScene], nothing: int) -> Int[Tensor, " tokens"]:
    """The noun's index under every token, `nothing` where there is none, negative if unclear."""
    labels = torch.from_numpy(np.concatenate([scene.labels for scene in scenes]))
    return torch.where(labels == NOTHING, nothing, labels)


def accuracies(
    scores: Float[Tensor, "tokens words"], labels: Int[Tensor, " tokens"]
) -> dict[str, float]:
    """Share of tokens named right, on drawings and on the ground."""
    right, ground = scores.argmax(-1) == labels, labels == scores.shape[1] - 1
    return {
        "objects": right[~ground].float().mean().item(),
        "ground": right[ground].float().mean().item(),
    }


@torch.inference_mode()
def named(tower: Tower, split: str, *, scenes: int, seed: int = 0) -> dict[str, float]:
    """Accuracies on unchanged drawings of a split; each noun is compared with all."""
    nouns = tuple(groups())
    made = [plain_scene(split, nouns, np.random.default_rng([seed, 2, i])) for i in range(scenes)]
    labels = as_labels(made, len(nouns))
    features = torch.cat([tower(as_pixels(made[i : i + 32])) for i in range(0, scenes, 32)])
    return accuracies(tower.scores(features)[labels >= 0], labels[labels >= 0])
