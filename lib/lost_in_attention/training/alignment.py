"""Phase 1: the vision tower learns to name what lies under each visual token.

The decoder's own word embeddings are the classifier, so that a visual token of a red
seven points towards the words "seven" and "red".  Contrastive pre-training gives
published models the same alignment.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from lost_in_attention.digits import COLOURS, DIGIT_NAMES, IMAGE_SIZE, Scene, make_scenes
from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.training.conversations import GRID
from lost_in_attention.training.tokenizer import word_token

GROUND = "ground"
_CELL = IMAGE_SIZE // GRID
_LEAST_COVER = 0.25


class Aligner(nn.Module):
    """Scores each visual token against the embeddings of digit and colour words."""

    def __init__(self, vlm: VisionLanguageModel) -> None:
        super().__init__()
        self.model = vlm.model
        self.log_scale = nn.Parameter(torch.tensor(1.5))
        tokenizer = vlm.processor.tokenizer
        for kind, words in (("digits", DIGIT_NAMES), ("colours", tuple(COLOURS))):
            ids = torch.tensor([word_token(tokenizer, word) for word in (*words, GROUND)])
            self.register_buffer(kind, ids, persistent=False)

    def trainable(self) -> list[nn.Parameter]:
        vision = list(self.model.model.visual.parameters())
        return [*vision, *self.model.get_input_embeddings().parameters(), self.log_scale]

    def forward(self, features: Float[Tensor, "tokens hidden"]) -> tuple[Tensor, Tensor]:
        """Logits of each visual token over the digit words and over the colour words."""
        embeddings = self.model.get_input_embeddings().weight
        scale = self.log_scale.exp()
        return (
            scale * features @ embeddings[self.digits].T,
            scale * features @ embeddings[self.colours].T,
        )


def alignment_loss(
    aligner: Aligner, vlm: VisionLanguageModel, scenes: Sequence[Scene]
) -> tuple[Tensor, dict[str, float]]:
    """Cross-entropy of digit and colour under each token; accuracy where a digit lies."""
    digits, colours = (
        torch.from_numpy(np.concatenate(part)).to(vlm.device)
        for part in zip(*map(token_labels, scenes), strict=True)
    )
    digit_logits, colour_logits = aligner(torch.cat(vlm.encode_images([s.image for s in scenes])))
    loss = F.cross_entropy(digit_logits, digits) + F.cross_entropy(colour_logits, colours)
    covered = digits < len(DIGIT_NAMES)
    return loss, {
        "digit_accuracy": _accuracy(digit_logits, digits, covered),
        "colour_accuracy": _accuracy(colour_logits, colours, covered),
    }


def alignment_scenes(step: int, *, batch: int, seed: int) -> list[Scene]:
    """The training scenes of one step: fresh ones, with augmented digits."""
    return list(make_scenes(batch, split="train", seed=seed, first=step * batch, augment=True))


def token_labels(scene: Scene) -> tuple[Int[np.ndarray, " tokens"], Int[np.ndarray, " tokens"]]:
    """Digit and colour index under each of the 8 x 8 visual tokens, row by row.

    A token belongs to the digit whose box covers most of it, if it covers a quarter;
    otherwise to the ground, the last class.
    """
    cover = np.zeros((len(scene.digits), GRID, GRID))
    starts = np.arange(GRID) * _CELL
    for index, digit in enumerate(scene.digits):
        x, y, width, height = digit.box
        across = np.clip(np.minimum(x + width, starts + _CELL) - np.maximum(x, starts), 0, None)
        down = np.clip(np.minimum(y + height, starts + _CELL) - np.maximum(y, starts), 0, None)
        cover[index] = np.outer(down, across) / _CELL**2
    best = cover.argmax(0)
    covered = cover.max(0) >= _LEAST_COVER
    digit_of = np.array([d.digit for d in scene.digits])
    colour_of = np.array([list(COLOURS).index(d.colour) for d in scene.digits])
    return (
        np.where(covered, digit_of[best], len(DIGIT_NAMES)).ravel(),
        np.where(covered, colour_of[best], len(COLOURS)).ravel(),
    )


def _accuracy(logits: Tensor, labels: Tensor, chosen: Tensor) -> float:
    return (logits.argmax(-1) == labels)[chosen].float().mean().item()
