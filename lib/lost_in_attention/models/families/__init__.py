"""The families of models: one file holds all that is special to one, and a family is asked for it.

A new family is a subclass of `Family` in a file of its own and its name in the list here.
"""

from transformers import PreTrainedConfig

from lost_in_attention.models.families.base import Family, Inputs, Published
from lost_in_attention.models.families.llava import Llava
from lost_in_attention.models.families.llava_next import LlavaNext
from lost_in_attention.models.families.llava_onevision import LlavaOnevision
from lost_in_attention.models.families.qwen2_5_vl import Qwen2_5_VL
from lost_in_attention.models.families.smolvlm import SmolVLM

_ALL = (Qwen2_5_VL, Llava, LlavaNext, LlavaOnevision, SmolVLM)
# By the model type of a configuration.
FAMILIES: dict[str, type[Family]] = {kind: family for family in _ALL for kind in family.model_types}
KEYS = tuple(family.key for family in _ALL)

__all__ = ["FAMILIES", "KEYS", "Family", "Inputs", "Published", "family_named", "family_of"]


def family_of(config: PreTrainedConfig, argument: str = "config") -> type[Family]:
    """The family of a model with this configuration.

    Raises ValueError that names `argument` and lists the known model types if it is of none.
    """
    if config.model_type not in FAMILIES:
        raise ValueError(
            f"{argument}: expected a model of type {sorted(FAMILIES)}, got {config.model_type!r}"
        )
    return FAMILIES[config.model_type]


def family_named(key: str) -> type[Family]:
    """The family of this name in the project, such as "qwen2.5-vl".

    Raises ValueError on an unknown name.
    """
    for family in _ALL:
        if family.key == key:
            return family
    raise ValueError(f"family: expected one of {sorted(KEYS)}, got {key!r}")
