"""What decides the rows of any run: the model, its processor, the questions, the libraries.

A run that goes on must find all of it as it was (`runs.run_file`).
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import fields
from typing import Any

from transformers import PreTrainedTokenizerBase

from lost_in_attention.benchmarks import Sample
from lost_in_attention.models.changed import check_named
from lost_in_attention.models.vlm import VisionLanguageModel
from lost_in_attention.runs.provenance import versions, weights_digest


def settings_of(
    vlm: VisionLanguageModel,
    samples: Sequence[Sample],
    batch_size: int,
    generation: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What decides the rows of any run: model, processor, questions, batches and libraries.

    With `generation`, arguments of `generate`, also how replies are made.  What is long
    stands as a hash.

    Raises ValueError if the model is changed and `vlm` does not name it so (`check_named`).
    """
    settings = {
        "model": vlm.name,
        **commit_of(vlm),
        **identity_of(vlm),
        "samples": len(samples),
        "questions": questions_digest(samples),
        "batch_size": batch_size,
        "device": _places(vlm),
        "versions": versions(),
    }
    if generation is None:
        return settings
    config = deepcopy(vlm.model.generation_config)
    config.update(**generation)
    return settings | {"generation": _hash(_without_origin(config.to_dict()))}


def _places(vlm: VisionLanguageModel) -> str:
    """The kind of device, behind the number of them where layers are spread."""
    number = len(vlm.devices)
    return vlm.device.type if number == 1 else f"{number} {vlm.device.type}"


def commit_of(vlm: VisionLanguageModel) -> dict[str, str]:
    """The commit on the hub that a model was loaded from, under "revision"; empty for others."""
    return {"revision": vlm.revision} if vlm.revision else {}


def identity_of(vlm: VisionLanguageModel) -> dict[str, str]:
    """What tells a model from any other, by whatever name: its weights, and what it reads with.

    Quantised weights are said to be so, under "quantization".

    Raises ValueError if the model is changed and `vlm` does not name it so (`check_named`).
    """
    check_named(vlm)
    templates = [vlm.processor.chat_template, vlm.processor.tokenizer.chat_template]
    return {
        "weights": weights_digest(vlm.model),
        "architecture": _hash(_without_origin(vlm.model.config.to_dict())),
        "attention": vlm.decoder.config._attn_implementation,
        "chat_template": _hash(templates),
        "processor": _hash(json.loads(vlm.processor.to_json_string())),
        "tokenizer": _hash(_tokens(vlm.processor.tokenizer)),
        **({"quantization": vlm.quantization} if vlm.quantization else {}),
    }


def _without_origin(value: Any) -> Any:
    """A configuration without the names of its folder and of the version that wrote it."""
    if not isinstance(value, Mapping):
        return value
    kept = value.keys() - {"_name_or_path", "_from_model_config", "transformers_version"}
    return {name: _without_origin(value[name]) for name in kept}


def _tokens(tokenizer: PreTrainedTokenizerBase) -> list:
    return [tokenizer.get_vocab(), tokenizer.special_tokens_map, tokenizer.padding_side]


def _hash(value: Any) -> str:
    content = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def questions_digest(samples: Sequence[Sample]) -> str:
    """A hash of every field of every sample and of all pixels, in order.

    Raises ValueError if two samples have one id, by which their rows are told apart.
    """
    content, ids = hashlib.sha256(), set[str]()
    for sample in samples:
        if sample.id in ids:
            raise ValueError(f"samples: expected different ids, got {sample.id!r} twice")
        ids.add(sample.id)
        told = {f.name: getattr(sample, f.name) for f in fields(sample) if f.name != "images"}
        content.update(repr(told).encode())
        for image in sample.images:
            content.update(repr((image.mode, image.size, image.getpalette())).encode())
            content.update(image.tobytes())
    return content.hexdigest()[:16]
