"""Weights in 8 or 4 bits, as bitsandbytes keeps them on a GPU: LLM.int8 and NF4.

Every linear layer is quantised but the output's; states stay in the model's own format.
"""

from collections.abc import Sequence

import torch
from transformers import BitsAndBytesConfig
from transformers.utils import is_bitsandbytes_available

# Bytes of one weight.
QUANTIZATIONS = {"8bit": 1.0, "4bit": 0.5}


def check_quantization(
    quantization: str | None, dtype: torch.dtype, places: Sequence[torch.device]
) -> None:
    """Raises ValueError unless weights can be quantised on these devices, beside this format.

    In float32 states would have more digits than the products that they are made of.
    """
    if quantization is None:
        return
    if quantization not in QUANTIZATIONS:
        raise ValueError(f"quantization: expected one of {[*QUANTIZATIONS]}, got {quantization!r}")
    if dtype not in (torch.bfloat16, torch.float16):
        raise ValueError(
            f"dtype: expected bfloat16 or float16 beside quantization {quantization!r}, "
            f"got {str(dtype).removeprefix('torch.')}"
        )
    if others := [str(place) for place in places if place.type != "cuda"]:
        raise ValueError(
            f"device: expected a GPU for quantization {quantization!r}, got {others[0]!r}"
        )
    if not is_bitsandbytes_available():
        raise ValueError(
            f"quantization: expected bitsandbytes (pip install '.[quantization]') for "
            f"{quantization!r}, got none"
        )


def bitsandbytes_config(quantization: str, dtype: torch.dtype) -> BitsAndBytesConfig:
    """What `from_pretrained` is told; products in 4 bits are computed in `dtype`."""
    if quantization == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype
    )
