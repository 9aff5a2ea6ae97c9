"""Adapters should not cost a decoder its language: texts of its own show how far it has moved.

The decoder writes them before it has adapters, from nothing but the token that begins a document;
no corpus is needed.  Afterwards its predictions on them, with and without adapters, are compared.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from torch.nn import functional as F

from lost_in_attention.models import VisionLanguageModel

START = "<|endoftext|>"


@torch.inference_mode()
def own_texts(
    vlm: VisionLanguageModel, count: int, tokens: int, *, seed: int
) -> Int[Tensor, "count tokens"]:
    """What the decoder writes by itself, drawn from its own probabilities."""
    start = vlm.processor.tokenizer.convert_tokens_to_ids(START)
    first = torch.full((count, 1), start, device=vlm.device)
    # Without an end, all texts are of one length.
    how = {"min_new_tokens": tokens - 1, "max_new_tokens": tokens - 1}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return vlm.model.generate(
            first, attention_mask=torch.ones_like(first), do_sample=True, temperature=1.0,
            top_k=0, top_p=1.0, **how,
        ).clone()  # fmt: skip


def drift(vlm: VisionLanguageModel, texts: Int[Tensor, "count tokens"]) -> Float[Tensor, ""]:
    """KL divergence, in nats a token, of the predictions with adapters from those without."""
    with torch.no_grad(), without_adapters(vlm.decoder):
        before = _predicted(vlm, texts)
    return F.kl_div(_predicted(vlm, texts), before, reduction="batchmean", log_target=True)


def _predicted(
    vlm: VisionLanguageModel, texts: Int[Tensor, "count tokens"]
) -> Float[Tensor, "predictions vocabulary"]:
    with torch.autocast(texts.device.type, torch.bfloat16):
        logits = vlm.model(input_ids=texts, use_cache=False).logits
    return logits.flatten(0, 1).float().log_softmax(-1)


@contextmanager
def without_adapters(decoder: nn.Module) -> Iterator[None]:
    """Within the block the decoder is as it was before it got adapters."""
    adapted = [module for module in decoder.modules() if isinstance(module, BaseTunerLayer)]
    for module in adapted:
        module.enable_adapters(False)
    try:
        yield
    finally:
        for module in adapted:
            module.enable_adapters(True)
