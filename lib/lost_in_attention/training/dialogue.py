"""Phases 2 and 3: answering questions, first the decoder alone, then everything.

In phase 2 the vision tower is frozen and its output for a stock of scenes is computed
once.  In phase 3 images pass through the real processor and all weights move a little.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from lost_in_attention.digits import Scene
from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.training.architecture import GRID
from lost_in_attention.training.conversations import (
    Lesson,
    list_conversation,
    question_conversation,
)
from lost_in_attention.training.decoder import answer_logits
from lost_in_attention.training.digit_scenes import training_scenes
from lost_in_attention.training.tasks import Turn

_END = "<|im_end|>"


class SceneStock:
    """Training scenes with the frozen vision tower's output, in half precision."""

    def __init__(self, vlm: VisionLanguageModel, count: int, *, seed: int, batch: int = 64) -> None:
        self.scenes = training_scenes(count, seed=seed)
        features = []
        with torch.inference_mode():
            for start in tqdm(range(0, count, batch), desc="encode scenes"):
                images = [scene.image for scene in self.scenes[start : start + batch]]
                features += [f.half() for f in vlm.encode_images(images)]
        self.features = features

    def batch(
        self, size: int, rng: np.random.Generator
    ) -> tuple[list[Scene], list[Float[Tensor, "_ hidden"]]]:
        """`size` different scenes and their features, in single precision."""
        chosen = rng.choice(len(self.scenes), size, replace=False)
        return [self.scenes[i] for i in chosen], [self.features[i].float() for i in chosen]


def dialogue_loss(
    vlm: VisionLanguageModel,
    scenes: Sequence[Scene],
    features: Sequence[Float[Tensor, "_ hidden"]],
    lesson: Lesson,
    rng: np.random.Generator,
) -> tuple[Tensor, dict[str, float]]:
    """Mean cross-entropy of the answers' tokens: lists on half of the scenes, questions on half.

    The two halves weigh the same.  They differ in length, so each is its own batch: less padding.
    """
    half = len(scenes) // 2
    parts = [
        _answers(vlm, [make(scene, lesson, rng) for scene in scenes[part]], features[part])
        for make, part in (
            (list_conversation, slice(half)),
            (question_conversation, slice(half, None)),
        )
    ]
    losses = [F.cross_entropy(logits.float(), targets) for logits, targets in parts]
    numbers = {
        f"{name}_accuracy": (got.argmax(-1) == wanted).float().mean().item()
        for name, (got, wanted) in zip(("list", "question"), parts, strict=True)
    }
    return sum(losses) / len(losses), numbers


def _answers(
    vlm: VisionLanguageModel,
    conversations: Sequence[list[Turn]],
    features: Sequence[Float[Tensor, "_ hidden"]],
) -> tuple[Float[Tensor, "learned vocabulary"], Int[Tensor, " learned"]]:
    """The logits before every learned token, and that token."""
    ids, learned = encode_conversations(vlm, conversations, [len(f) for f in features])
    return answer_logits(vlm, ids.to(vlm.device), learned.to(vlm.device), features, GRID)


def encode_conversations(
    vlm: VisionLanguageModel, conversations: Sequence[list[Turn]], visual_tokens: Sequence[int]
) -> tuple[Int[Tensor, "batch tokens"], Bool[Tensor, "batch tokens"]]:
    """Token ids, padded on the right, and which of them are answers to be learned.

    These are the assistant's words and the end of its turn, less the given words of a list.
    """
    tokenizer = vlm.processor.tokenizer
    texts, learned = [], []
    for turns, count in zip(conversations, visual_tokens, strict=True):
        image = f"<|vision_start|>{tokenizer.image_token * count}<|vision_end|> "
        text = tokenizer.apply_chat_template(_messages(turns, image), tokenize=False)
        texts.append(text)
        learned.append(_learned_characters(text, turns))
    encoded = tokenizer(
        texts,
        padding=True,
        padding_side="right",
        add_special_tokens=False,
        return_offsets_mapping=True,
        return_tensors="pt",
    )
    answers = torch.zeros_like(encoded["input_ids"], dtype=torch.bool)
    for row, (marks, spans) in enumerate(zip(learned, encoded["offset_mapping"], strict=True)):
        # A token's last character decides: the space before a word belongs to the word.
        answers[row] = marks[spans[:, 1] - 1] & (spans[:, 1] > 0)
    return encoded["input_ids"], answers


def _learned_characters(text: str, turns: Sequence[Turn]) -> Bool[Tensor, " characters"]:
    marks = torch.zeros(len(text), dtype=torch.bool)
    end = 0
    for turn in turns:
        asked = text.index(turn.question, end) + len(turn.question)
        start = text.index(f"assistant {turn.answer}{_END}", asked) + len("assistant ")
        end = start + len(turn.answer) + len(_END)
        marks[start:end] = True
        for first, last in turn.given:
            marks[start + first : start + last] = False
    return marks


def _messages(turns: Sequence[Turn], image: str) -> list[dict[str, str]]:
    messages = []
    for index, turn in enumerate(turns):
        seen = image if index == 0 else ""
        messages.append({"role": "user", "content": seen + turn.question})
        messages.append({"role": "assistant", "content": turn.answer})
    return messages
