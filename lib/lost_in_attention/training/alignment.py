"""Phase 1: the vision tower learns to name what lies under each visual token.

The decoder's own word embeddings are the classifier, so that a visual token of a red
seven points towards the words "seven" and "red".  Contrastive pre-training gives
published models the same alignment.  A linear probe, thrown away afterwards, asks every
token for its column and row: published towers keep places too.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from lost_in_attention.digits import COLOURS, DIGIT_NAMES, Scene
from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.training.architecture import GRID, HIDDEN, PATCH, VISUAL_TOKENS
from lost_in_attention.training.tokenizer import word_token

GROUND = "ground"
_LEAST_COVER = 0.25


class Scores(NamedTuple):
    """Logits of each visual token over digit words, colour words, columns and rows."""

    digits: Float[Tensor, "tokens digits"]
    colours: Float[Tensor, "tokens colours"]
    columns: Float[Tensor, "tokens columns"]
    rows: Float[Tensor, "tokens rows"]


class Aligner(nn.Module):
    """Scores each visual token against the embeddings of digit and colour words, and its place."""

    def __init__(self, vlm: VisionLanguageModel) -> None:
        super().__init__()
        self.model = vlm.model
        self.log_scale = nn.Parameter(torch.tensor(1.5))
        self.places = nn.Linear(HIDDEN, 2 * GRID)
        tokenizer = vlm.processor.tokenizer
        for kind, words in (("digits", DIGIT_NAMES), ("colours", tuple(COLOURS))):
            ids = torch.tensor([word_token(tokenizer, word) for word in (*words, GROUND)])
            self.register_buffer(kind, ids, persistent=False)

    def trainable(self) -> list[nn.Parameter]:
        """The weights outside the decoder, the word embeddings, the scale and the probe."""
        decoder = {id(p) for p in self.model.get_decoder().parameters()}
        seeing = [p for p in self.model.parameters() if id(p) not in decoder]
        words = self.model.get_input_embeddings().parameters()
        return [*seeing, *words, self.log_scale, *self.places.parameters()]

    def forward(self, features: Float[Tensor, "tokens hidden"]) -> Scores:
        """The scores of each visual token."""
        embeddings = self.model.get_input_embeddings().weight
        scaled = self.log_scale.exp() * features
        columns, rows = self.places(features).split(GRID, dim=-1)
        return Scores(
            scaled @ embeddings[self.digits].T, scaled @ embeddings[self.colours].T, columns, rows
        )


def alignment_loss(
    aligner: Aligner, vlm: VisionLanguageModel, scenes: Sequence[Scene]
) -> tuple[Tensor, dict[str, float]]:
    """Cross-entropy of digit, colour and place of each token; accuracy where a digit lies."""
    digits, colours = (
        torch.from_numpy(np.concatenate(part)).to(vlm.device)
        for part in zip(*map(token_labels, scenes), strict=True)
    )
    # The tiled families give the whole view first, then its tiles.
    whole = [f[:VISUAL_TOKENS] for f in vlm.encode_images([s.image for s in scenes])]
    scores = aligner(torch.cat(whole))
    cells = torch.arange(VISUAL_TOKENS, device=vlm.device).repeat(len(scenes))
    labels = Scores(digits, colours, cells % GRID, cells // GRID)
    loss = sum(F.cross_entropy(*pair) for pair in zip(scores, labels, strict=True))
    covered = digits < len(DIGIT_NAMES)
    return loss, {
        "digit_accuracy": _accuracy(scores.digits, digits, covered),
        "colour_accuracy": _accuracy(scores.colours, colours, covered),
        "place_accuracy": _accuracy(scores.columns, labels.columns, covered),
    }


def token_labels(scene: Scene) -> tuple[Int[np.ndarray, " tokens"], Int[np.ndarray, " tokens"]]:
    """Digit and colour index under each of the 8 x 8 visual tokens, row by row.

    A token belongs to the digit whose box covers most of it, if it covers a quarter;
    otherwise to the ground, the last class.
    """
    cover = np.zeros((len(scene.digits), GRID, GRID))
    starts = np.arange(GRID) * PATCH
    for index, digit in enumerate(scene.digits):
        x, y, width, height = digit.box
        across = np.clip(np.minimum(x + width, starts + PATCH) - np.maximum(x, starts), 0, None)
        down = np.clip(np.minimum(y + height, starts + PATCH) - np.maximum(y, starts), 0, None)
        cover[index] = np.outer(down, across) / PATCH**2
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
