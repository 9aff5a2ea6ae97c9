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
from transformers.modeling_outputs import BaseModelOutputWithPooling

from lost_in_attention.digits import DIGIT_NAMES, Scene, make_scenes
from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.training.conversations import GRID, Turn, conversation
from lost_in_attention.training.tokenizer import word_token


class SceneStock:
    """Training scenes with the frozen vision tower's output, in half precision."""

    def __init__(self, vlm: VisionLanguageModel, count: int, *, seed: int, batch: int = 64) -> None:
        self.scenes = list(make_scenes(count, split="train", seed=seed, augment=True))
        features = []
        with torch.inference_mode():
            for start in tqdm(range(0, count, batch), desc="encode scenes"):
                images = [scene.image for scene in self.scenes[start : start + batch]]
                features += [f.half() for f in vlm.encode_images(images)]
        self.features = features

    def batch(
        self, size: int, rng: np.random.Generator
    ) -> tuple[list[Scene], list[Float[Tensor, "tokens hidden"]]]:
        chosen = rng.choice(len(self.scenes), size, replace=False)
        return [self.scenes[i] for i in chosen], [self.features[i].float() for i in chosen]


def dialogue_loss(
    vlm: VisionLanguageModel,
    scenes: Sequence[Scene],
    features: Sequence[Float[Tensor, "tokens hidden"]],
    rng: np.random.Generator,
) -> tuple[Tensor, dict[str, float]]:
    """Mean cross-entropy of the answers' tokens in one conversation on each scene."""
    conversations = [conversation(scene, rng) for scene in scenes]
    ids, answers = encode_conversations(vlm, conversations, [len(f) for f in features])
    hidden = _decode(vlm, ids.to(vlm.device), features)
    predicts = answers[:, 1:].to(vlm.device)
    logits = vlm.model.lm_head(hidden[:, :-1][predicts])
    targets = ids[:, 1:].to(vlm.device)[predicts]
    accuracy = (logits.argmax(-1) == targets).float().mean().item()
    return F.cross_entropy(logits.float(), targets), {"token_accuracy": accuracy}


def encode_conversations(
    vlm: VisionLanguageModel, conversations: Sequence[list[Turn]], visual_tokens: Sequence[int]
) -> tuple[Int[Tensor, "batch tokens"], Bool[Tensor, "batch tokens"]]:
    """Token ids, padded on the right, and which of them are answers to be learned.

    These are the assistant's words, less the digits that a description is given.  Padding on
    the right needs no attention mask: a causal decoder never looks there.
    """
    tokenizer = vlm.processor.tokenizer
    chats = [
        _messages(turns, f"<|vision_start|>{tokenizer.image_token * count}<|vision_end|> ")
        for turns, count in zip(conversations, visual_tokens, strict=True)
    ]
    encoded = tokenizer.apply_chat_template(
        chats,
        tokenize=True,
        return_dict=True,
        return_assistant_tokens_mask=True,
        padding=True,
        tokenizer_kwargs={"padding_side": "right"},
        return_tensors="pt",
    )
    given = torch.tensor([word_token(tokenizer, name) for name in DIGIT_NAMES])
    answers = torch.as_tensor(encoded["assistant_masks"]).bool()
    return encoded["input_ids"], answers & ~torch.isin(encoded["input_ids"], given)


def _decode(
    vlm: VisionLanguageModel,
    ids: Int[Tensor, "batch tokens"],
    features: Sequence[Float[Tensor, "tokens hidden"]],
) -> Float[Tensor, "batch tokens hidden"]:
    """The decoder's last hidden states, with images given as the vision tower's output."""
    merge = vlm.model.config.vision_config.spatial_merge_size
    grid = torch.tensor([[1, merge * GRID, merge * GRID]], device=vlm.device)
    encoded = BaseModelOutputWithPooling(pooler_output=tuple(features))
    return vlm.model.model(
        input_ids=ids,
        mm_token_type_ids=(ids == vlm.model.config.image_token_id).int(),
        image_grid_thw=grid.expand(len(ids), 3),
        mm_encoder_outputs={"image": encoded},
        use_cache=False,
    ).last_hidden_state


def _messages(turns: list[Turn], image: str) -> list[dict[str, str]]:
    messages = []
    for index, (question, answer) in enumerate(turns):
        messages.append({"role": "user", "content": (image if index == 0 else "") + question})
        messages.append({"role": "assistant", "content": answer})
    return messages
