"""Attention functions under names of this project, registered with transformers and taken back.

Some modules of a model are asked before SDPA computes: they may look at a pass, or give the
output in SDPA's place.  All others compute what they always did, bit for bit.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from weakref import WeakKeyDictionary

from jaxtyping import Bool, Float
from torch import Tensor, nn
from transformers import (
    AttentionInterface,
    AttentionMaskInterface,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

# The parts of a model, by the names of their configurations.
DECODER, TOWER = "text_config", "vision_config"

Heads = Float[Tensor, "batch heads rows features"]
Mask = Bool[Tensor, "batch 1 rows keys"] | None
# Module, query, key, value, mask, scaling; the output, or None where SDPA gives it.
Asked = Callable[[nn.Module, Heads, Heads, Heads, Mask, float], Heads | None]

_ASKED: WeakKeyDictionary[nn.Module, Asked] = WeakKeyDictionary()


def register(name: str) -> None:
    """Make `name` an attention implementation that a model can run on, with SDPA's masks."""
    AttentionInterface.register(name, _attend)
    AttentionMaskInterface.register(name, sdpa_mask)


@contextmanager
def running_on(
    model: PreTrainedModel, part: str, name: str, asked: Mapping[nn.Module, Asked] | None = None
) -> Iterator[None]:
    """Within the block the attention of `part` is called `name`, and modules ask first.

    `part` is `DECODER` or `TOWER`.  What was set before comes back, also after an exception.
    """
    config, key = _configuration(model, part)
    usual, asked = config._attn_implementation, asked or {}
    try:
        _ASKED.update(asked)
        model.set_attn_implementation({key: name})
        yield
    finally:
        model.set_attn_implementation({key: usual})
        for module in asked:
            _ASKED.pop(module, None)


def _configuration(model: PreTrainedModel, part: str) -> tuple[PreTrainedConfig, str]:
    """A part's configuration and its key, which is "" for a decoder by itself, the whole model."""
    if part == DECODER and not model.config.sub_configs:
        return model.config, ""
    return getattr(model.config, part), part


# The parameters' names are those that transformers passes.
def _attend(module, query, key, value, attention_mask, scaling=None, **kwargs):
    ask = _ASKED.get(module)
    if ask is not None:
        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        output = ask(module, query, key, value, attention_mask, scale)
        if output is not None:
            return output.transpose(1, 2).contiguous(), None
    return sdpa_attention_forward(
        module, query, key, value, attention_mask, scaling=scaling, **kwargs
    )
