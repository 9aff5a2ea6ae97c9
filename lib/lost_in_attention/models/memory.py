"""What fits into memory: a model's weights, the keys and values of a batch."""

from collections import Counter
from collections.abc import Sequence

import torch
from torch import nn
from transformers import AutoModelForImageTextToText, PreTrainedConfig

from lost_in_attention.benchmarks.base import Sample
from lost_in_attention.models.devices import free_bytes
from lost_in_attention.models.quantization import QUANTIZATIONS
from lost_in_attention.models.vlm import VisionLanguageModel

GIB = 2**30
# The rest is for the activations of a forward pass, which no configuration states.
SHARE_FOR_CACHE = 0.5


def weight_bytes(
    config: PreTrainedConfig, dtype: torch.dtype, quantization: str | None = None
) -> int:
    """What the weights of a model with this configuration take; nothing is allocated."""
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config)
    full = sum(weight.numel() for weight in model.parameters()) * dtype.itemsize
    if quantization is None:
        return full
    output = model.get_output_embeddings()
    linear = [each for each in model.modules() if isinstance(each, nn.Linear)]
    quantised = sum(each.weight.numel() for each in linear if each is not output)
    return full - int(quantised * (dtype.itemsize - QUANTIZATIONS[quantization]))


def on_the_way_to(device: torch.device) -> tuple[torch.device, ...]:
    """Where weights lie before they are on `device`: they are read into the system's memory."""
    return tuple(dict.fromkeys((torch.device("cpu"), device)))


def weights_fit(needed: float, device: torch.device) -> bool:
    """Whether as many bytes of weights can be brought to `device` now."""
    return all(needed <= free_bytes(place) for place in on_the_way_to(device))


def check_weights_fit(
    name: str,
    config: PreTrainedConfig,
    dtype: torch.dtype,
    places: Sequence[torch.device],
    quantization: str | None = None,
) -> None:
    """Raises ValueError if the weights are larger than the free memory that they pass through.

    Spread over several places, or quantised, they go there without a stay in the system's memory.
    """
    needed = weight_bytes(config, dtype, quantization)
    straight = quantization is not None or len(places) > 1
    for together in [places] if straight else [(each,) for each in on_the_way_to(*places)]:
        free = sum(map(free_bytes, together))
        if needed > free:
            raise ValueError(
                f"name: expected {name!r} to fit into memory, its weights take "
                f"{needed / GIB:.3g} GiB in {quantization or str(dtype).removeprefix('torch.')}, "
                f"got {free / GIB:.3g} GiB free on {', '.join(map(str, together))}"
            )


def cache_bytes(config: PreTrainedConfig, dtype: torch.dtype) -> int:
    """What the keys and values of one token take in all decoder layers together."""
    decoder = config.get_text_config()
    width = getattr(decoder, "head_dim", None) or (
        decoder.hidden_size // decoder.num_attention_heads
    )
    return 2 * decoder.num_hidden_layers * decoder.num_key_value_heads * width * dtype.itemsize


def longest_prompt(vlm: VisionLanguageModel, samples: Sequence[Sample]) -> int:
    """The number of tokens of the longest prompt, images included."""
    return max(
        vlm.prepare([sample.images], [sample.prompt])["input_ids"].shape[1] for sample in samples
    )


def fitting_batch(
    vlm: VisionLanguageModel, prompt_tokens: int, new_tokens: int, *, at_most: int = 50
) -> int:
    """How many prompts can be answered at once, from 1 to `at_most`.

    `prompt_tokens` are those of the longest one.  Keys and values may take half of the free
    memory, on each device those of its layers.  Raises ValueError if not even one prompt fits.
    """
    whole = (prompt_tokens + new_tokens) * cache_bytes(vlm.model.config, vlm.model.dtype)
    layers = Counter(next(layer.parameters()).device for layer in vlm.layers)
    for device, count in layers.items():
        one, free = whole * count / len(vlm.layers), free_bytes(device)
        if one > SHARE_FOR_CACHE * free:
            raise ValueError(
                f"prompt_tokens, new_tokens: expected keys and values of at most half of the "
                f"{free / GIB:.3g} GiB that are free on {device}, got {one / GIB:.3g} GiB for one "
                f"prompt of {prompt_tokens} tokens and a reply of {new_tokens}"
            )
        at_most = min(at_most, int(SHARE_FOR_CACHE * free / one))
    return at_most
