"""Load a model by zoo name, folder or hub id, and check that it is what it claims to be."""

import gc
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate.hooks import remove_hook_from_submodules
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForImageTextToText, PreTrainedConfig, PreTrainedModel
from transformers.utils import resolve_revision

from lost_in_attention.models.checks import check
from lost_in_attention.models.devices import SPREAD, usable_devices
from lost_in_attention.models.families import family_of
from lost_in_attention.models.joined import in_parts, joined_model
from lost_in_attention.models.memory import check_weights_fit
from lost_in_attention.models.processors import load_processor
from lost_in_attention.models.quantization import bitsandbytes_config, check_quantization
from lost_in_attention.models.reading import errors_only, unreadable
from lost_in_attention.models.registry import registered, spelled
from lost_in_attention.models.vlm import VisionLanguageModel
from lost_in_attention.models.weights import check_complete, check_finite
from lost_in_attention.runs.paths import data_folder
from lost_in_attention.runs.provenance import without_folders

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")


class ModelName(str):
    """A model's name on a page; `source` is what it is loaded by, perhaps a path on one machine."""

    source: str

    def __new__(cls, source: str) -> "ModelName":
        name = super().__new__(cls, without_folders(source))
        name.source = source
        return name


# The number formats that the commands offer, by name.
DTYPES = {name: getattr(torch, name) for name in ("float32", "bfloat16", "float16")}
# How attention is computed; the authors' code asks for its maps, and so for the second.
ATTENTIONS = ("sdpa", "eager")


def load(
    name: str | Path,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    decoder: str | None = None,
    revision: str | None = None,
    attention: str | None = None,
    quantization: str | None = None,
) -> VisionLanguageModel:
    """Load `name`: a model of the repository, a local folder or a hub id (see `resolve`).

    `device` is one, or "auto": then all GPUs share the layers, one behind the other.
    `quantization` keeps the weights in "8bit" or "4bit" there (`quantization`).
    `decoder` says where the decoder of a model in parts is, if it was not trained on the
    package's weights (see `smollm2`).  `revision` is a commit, branch or tag on the hub; without
    it a registered model is taken at its registered commit, and another at its newest.
    `attention` is one of `ATTENTIONS`, or as transformers chooses.

    Raises FileNotFoundError where nothing of that name is found, and ValueError: a device that
    is not there, a `quantization` that cannot be had (`check_quantization`), either of them for a
    model in parts, a registered model that is not supported, a `revision` of a folder, an unknown
    `attention`, a model of no known family, weights that do not fit into memory, are incomplete,
    left over, of another shape or not finite, parts that are not those of one model
    (`joined_model`), a `decoder` for a model that is whole, or a model that fails a check
    (`check`).
    """
    places = usable_devices(device)
    check_how(places, dtype, attention, quantization)
    source = resolve(name)
    shown = str(without_folders(spelled(str(name))))
    commit = _commit(source, revision)
    config = configuration(shown, source, commit)
    check_weights_fit(shown, config, dtype, places, quantization)
    placed = _placed(device, places, dtype, quantization)
    processor = load_processor(source, config, commit)
    if in_parts(source):
        if placed:
            raise ValueError(
                f"device, quantization: expected one device and whole weights for {shown!r}, "
                f"a model in parts, got {str(device)!r} and {quantization!r}"
            )
        model = joined_model(shown, source, config, dtype=dtype, decoder=decoder)
    elif decoder is not None:
        raise ValueError(f"decoder: expected none for {shown!r}, which is whole, got {decoder!r}")
    else:
        model = _model(shown, source, commit, dtype, placed)
    if attention is not None:
        model.set_attn_implementation(attention)
    known = commit if _COMMIT.fullmatch(commit or "") else None
    model = model if placed else model.to(*places)
    vlm = VisionLanguageModel(model.eval(), processor, shown, known)
    check_finite(shown, vlm.model)
    check(vlm)
    return vlm


def check_how(
    places: Sequence[torch.device],
    dtype: torch.dtype,
    attention: str | None,
    quantization: str | None,
) -> None:
    """Raises ValueError as `load` does on what it is told of how, for a model on these devices."""
    if attention not in (None, *ATTENTIONS):
        raise ValueError(f"attention: expected one of {[*ATTENTIONS]}, got {attention!r}")
    check_quantization(quantization, dtype, places)


def each_model(
    names: Iterable[str], *, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
) -> Iterator[tuple[str, VisionLanguageModel]]:
    """Each name with its model, one at a time.

    A model's weights are gone when the next is asked for, whoever still holds the model.
    """
    for name in names:
        vlm = load(name, device=device, dtype=dtype)
        try:
            yield name, vlm
        finally:
            release(vlm)


def release(vlm: VisionLanguageModel) -> None:
    """Give the memory of a model's weights back; it cannot be used any more."""
    # Hooks of a model on several devices hold weights too.
    remove_hook_from_submodules(vlm.model)
    vlm.model.to("meta")
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def resolve(name: str | Path) -> str:
    """What `from_pretrained` is given: a folder, or a hub id as it is.

    "organisation/model" means the hub, a name without "/" the small zoo, and a path that starts
    with ".", "/" or "~", or is a `Path`, a folder.  Other names may be folders too.  A registered
    hub id comes back in its own capitals, which name the folder of the hub's cache.

    Raises FileNotFoundError where nothing of that name is found, and ValueError where a name
    has two meanings here, or is that of a registered model that is not supported.
    """
    text = str(getattr(name, "source", name))
    if not text.strip():
        raise FileNotFoundError(f"name: expected the name of a model, got {text!r}")
    folder = Path(os.path.expanduser(text))
    if isinstance(name, Path) or text.startswith((".", "/", "~")):
        return _folder(text, folder)
    if _HUB_ID.fullmatch(text):
        _refuse_both(text, folder, "a model on the hub (to load that, start elsewhere)")
        _refuse_unsupported(text)
        return spelled(text)
    if "/" in text:
        return _folder(text, folder)
    return _zoo_folder(text, folder)


def _folder(text: str, folder: Path) -> str:
    if folder.is_dir():
        return str(folder)
    raise FileNotFoundError(f"name: expected a folder that exists, got {text!r}")


def _zoo_folder(text: str, folder: Path) -> str:
    try:
        zoo = data_folder() / "models"
    except FileNotFoundError:
        if folder.is_dir():
            return str(folder)
        raise
    if (zoo / text / "config.json").exists():
        if folder.resolve() != (zoo / text).resolve():
            _refuse_both(text, folder, f"a model of the zoo (to load that, write {zoo / text})")
        return str(zoo / text)
    if folder.is_dir():
        return str(folder)
    if model := registered(text):
        raise FileNotFoundError(f"name: expected the hub id {model.hub!r}, got {text!r}")
    known = sorted(path.parent.name for path in zoo.glob("*/config.json"))
    raise FileNotFoundError(
        f"name: expected one of {known}, an existing folder or a hub id "
        f"like 'organisation/model', got {text!r}"
    )


def _refuse_both(text: str, folder: Path, other: str) -> None:
    if folder.is_dir():
        raise ValueError(
            f"name: expected one meaning, got {text!r}, a folder here (to load that, write "
            f"'./{text}') and {other}"
        )


def _refuse_unsupported(hub: str) -> None:
    model = registered(hub)
    if model and not model.supported:
        raise ValueError(f"name: expected a supported model, got {model.hub!r}: {model.reason}")


def _commit(source: str, revision: str | None) -> str | None:
    """Which state of a repository on the hub is loaded; None for a folder.

    All files are of one commit, also if the repository changes meanwhile.  Where the hub cannot
    be asked for it, what was asked for.
    """
    if Path(source).is_dir():
        if revision is not None:
            raise ValueError(f"revision: expected none for a folder, got {revision!r}")
        return None
    model = registered(source)
    found = resolve_revision(source, revision or (model.revision if model else "") or None)
    return getattr(found, "resolved", found)


def configuration(shown: str, source: str, commit: str | None = None) -> PreTrainedConfig:
    """Of a model by what `resolve` gives; errors call it `shown`.

    Raises ValueError where it cannot be read or is not of a model of images and text of a known
    family.
    """
    try:
        config = AutoConfig.from_pretrained(source, revision=commit)
    except (OSError, ValueError) as error:
        at = f" at commit {commit}" if commit else ""
        raise unreadable(shown, f"a configuration{at}", error) from error
    if type(config) not in AutoModelForImageTextToText._model_mapping:
        raise ValueError(
            f"name: expected {shown!r} to be a model of images and text, "
            f"got one of type {config.model_type!r}"
        )
    family_of(config, "name")
    return config


def _placed(
    device: str | torch.device,
    places: Sequence[torch.device],
    dtype: torch.dtype,
    quantization: str | None,
) -> dict[str, Any]:
    """What `from_pretrained` is told of where weights go; nothing if they are moved afterwards."""
    if device != SPREAD and quantization is None:
        return {}
    how: dict[str, Any] = {"device_map": SPREAD if device == SPREAD else {"": places[0]}}
    if quantization is None:
        return how
    return how | {"quantization_config": bitsandbytes_config(quantization, dtype)}


def _model(
    shown: str, source: str, commit: str | None, dtype: torch.dtype, placed: Mapping[str, Any]
) -> PreTrainedModel:
    how: dict[str, Any] = {"output_loading_info": True, "ignore_mismatched_sizes": True, **placed}
    try:
        with errors_only():
            model, found = AutoModelForImageTextToText.from_pretrained(
                source, dtype=dtype, revision=commit, **how
            )
    except (OSError, SafetensorError) as error:
        raise unreadable(shown, "weights", error) from error
    check_complete(shown, model, found)
    # What no GPU has room for is left elsewhere, and brought there anew for every pass.
    left = {name for name, weight in model.named_parameters() if weight.device.type != "cuda"}
    if placed and left:
        raise ValueError(
            f"name: expected the GPUs to hold all of {shown!r}, got {len(left)} weights left "
            f"elsewhere, {min(left)} among them"
        )
    return model
