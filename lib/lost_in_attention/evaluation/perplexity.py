"""How well a model's decoder still predicts plain text."""

from collections.abc import Sequence

import pandas as pd
import torch
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from lost_in_attention.benchmarks import Sample
from lost_in_attention.models import VisionLanguageModel


@torch.inference_mode()
def surprise(vlm: VisionLanguageModel, samples: Sequence[Sample]) -> pd.DataFrame:
    """One row a text: sample, tokens that were predicted, and their mean surprise in nats.

    The text is read as it is, without chat template or image; perplexity is exp of the mean
    surprise over all tokens.

    Raises ValueError, before the model runs, on no samples, one with an image, or a text of fewer
    than two tokens.
    """
    if not samples:
        raise ValueError("samples: expected at least one, got none")
    if seeing := [sample.id for sample in samples if len(sample.images)]:
        raise ValueError(f"samples: expected texts without images, got images in {seeing[0]}")
    tokenizer = vlm.processor.tokenizer
    texts = [tokenizer(sample.prompt, return_tensors="pt")["input_ids"] for sample in samples]
    for sample, ids in zip(samples, texts, strict=True):
        if ids.shape[1] < 2:
            raise ValueError(f"samples: expected at least two tokens in {sample.id}, got one")
    rows = []
    for sample, ids in zip(samples, tqdm(texts, desc=f"surprise {vlm.name}"), strict=True):
        ids = ids.to(vlm.device)
        logits = vlm.model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        nats = cross_entropy(logits[0, :-1].float(), ids[0, 1:]).item()
        rows.append({"sample": sample.id, "tokens": ids.shape[1] - 1, "surprise": nats})
    return pd.DataFrame(rows)
