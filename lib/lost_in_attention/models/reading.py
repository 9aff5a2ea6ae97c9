"""How transformers' files are read: without its warnings, and with one line where they cannot be.

A decoder by itself is read as `load` reads a whole model: nothing missing, nothing left over.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.utils import logging

from lost_in_attention.models.weights import check_complete, check_finite
from lost_in_attention.runs.provenance import without_folders


def decoder_config(source: str) -> PreTrainedConfig:
    """The configuration of a causal language model, in float32.

    Raises ValueError if it cannot be read or is of another kind of model.
    """
    shown = str(without_folders(source))
    try:
        config = AutoConfig.from_pretrained(source, dtype=torch.float32)
    except (OSError, ValueError) as error:
        raise unreadable(shown, "a configuration", error) from error
    if type(config) not in AutoModelForCausalLM._model_mapping:
        raise ValueError(
            f"name: expected {shown!r} to be a causal language model, "
            f"got one of type {config.model_type!r}"
        )
    return config


def read_decoder(source: str) -> PreTrainedModel:
    """A causal language model in float32 with all of its weights.

    Raises ValueError if its files are not those of one, cannot be read or are incomplete, or if a
    weight is not finite.
    """
    decoder_config(source)
    shown = str(without_folders(source))
    how = {"output_loading_info": True, "ignore_mismatched_sizes": True}
    try:
        with errors_only():
            model, found = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32, **how)
    except (OSError, SafetensorError) as error:
        raise unreadable(shown, "weights", error) from error
    check_complete(shown, model, found)
    check_finite(shown, model)
    return model


@contextmanager
def errors_only() -> Iterator[None]:
    """Within the block transformers says nothing but errors: `check_complete` says the rest."""
    usual = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(usual)


def unreadable(shown: str, what: str, error: Exception) -> ValueError:
    """The one line for what transformers could not read."""
    first = str(error).strip().partition("\n")[0]
    return ValueError(f"name: expected {shown!r} to have {what} that can be read, got: {first}")
