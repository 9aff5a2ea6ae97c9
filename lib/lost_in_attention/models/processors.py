"""The processor of a model: its family's own, padding on the left, with a chat template."""

from pathlib import Path

from transformers import AutoConfig, AutoProcessor, PreTrainedConfig
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING
from transformers.processing_utils import ProcessorMixin

from lost_in_attention.models.families import family_of
from lost_in_attention.models.reading import unreadable
from lost_in_attention.runs.provenance import without_folders


def load_processor(
    source: str | Path, config: PreTrainedConfig | None = None, revision: str | None = None
) -> ProcessorMixin:
    """The processor of a folder or hub id, padding on the left.

    Where the folder names an image processor that transformers does not have, as many fine-tunes
    do, it is the one of the model's family; a chat template may stand with the tokenizer alone.

    Raises TypeError where only a tokenizer is found (AutoProcessor returns that silently for
    classes that it does not know), ValueError where a file cannot be read, there is no chat
    template or the model is of no known family.
    """
    config = config or AutoConfig.from_pretrained(source, revision=revision)
    loader = _processor_class(config)
    try:
        processor = loader.from_pretrained(source, config=config, revision=revision)
    # The tokenizers library raises nothing more special for a file that it cannot read.
    except Exception as error:
        raise unreadable(str(without_folders(str(source))), "a processor", error) from error
    if not hasattr(processor, "image_processor"):
        raise TypeError(
            f"source: expected {str(source)!r} to hold an image-text processor, "
            f"got {type(processor).__name__}"
        )
    processor.chat_template = processor.chat_template or processor.tokenizer.chat_template
    if not processor.chat_template:
        raise ValueError(
            f"source: expected {str(source)!r} to hold a chat template, in a file of its own or "
            "in tokenizer_config.json, got none"
        )
    processor.tokenizer.padding_side = "left"
    return processor


def _processor_class(config: PreTrainedConfig) -> type[ProcessorMixin]:
    """The family's own, which falls back on its image processor; else whatever is found."""
    own = family_of(config, "source").processor_class(config.model_type)
    return own or PROCESSOR_MAPPING.get(type(config), AutoProcessor)
