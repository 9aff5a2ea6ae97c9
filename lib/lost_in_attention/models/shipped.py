"""The models that the repository holds: their names, and what they weighed as they were trained."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from safetensors.torch import load_file

from lost_in_attention.models import ModelName, VisionLanguageModel
from lost_in_attention.models.changed import changing
from lost_in_attention.models.joined import has_published_decoder, in_parts
from lost_in_attention.models.load import resolve
from lost_in_attention.models.registry import spelled
from lost_in_attention.models.smollm2 import is_package
from lost_in_attention.models.text_decoder import NAME
from lost_in_attention.models.weights import check_finite
from lost_in_attention.runs.paths import data_folder
from lost_in_attention.runs.provenance import without_folders

# Everything that was trained here from scratch, one model a recipe, and what has a decoder that
# was published.
SHIPPED, FAMILIES, PRETRAINED = "zoo", "families", "pretrained"
_GROUPS = (SHIPPED, FAMILIES, PRETRAINED)
# A source that is another one for each model: the world that it was trained on.
OWN_WORLD = "own"
# What was trained here from scratch, as the subject of a measurement; PRETRAINED is the other one.
SMALL = "small"


def chosen_models(models: str) -> list[str]:
    """The names in a comma-separated list, such as "pretrained,families".

    "zoo" is every model that the repository holds and that was trained here from scratch,
    "families" the first training seed of each, "pretrained" those whose decoder was published.

    Raises ValueError on an empty or repeated name, or one model under two names, and
    FileNotFoundError on an unknown one, or where the repository holds none of a group.
    """
    listed = [name.strip() for name in models.split(",")]
    names = [each for name in listed for each in _expanded(name)]
    if not all(names) or len(set(names)) < len(names) or _same(names):
        raise ValueError(
            f"models: expected {', '.join(map(repr, _GROUPS))} or different names of different "
            f"models, parted by commas, got {models!r}"
        )
    return names


def _expanded(name: str) -> list[str]:
    """A name, or the names in a group."""
    if name not in _GROUPS:
        return [ModelName(spelled(name))]
    folders = sorted(path.parent for path in data_folder().glob("models/*/config.json"))
    held = [path.name for path in folders if in_parts(path) == (name == PRETRAINED)]
    if not held:
        raise FileNotFoundError(
            f"models: expected models in {data_folder() / 'models'} for {name!r}, got none"
        )
    return [each for each in held if name != FAMILIES or each == recipe_of(each)]


def world_of(name: str) -> str | None:
    """The embedded world that a model of the repository was trained on; None for other models."""
    source = getattr(name, "source", name)
    folder = data_folder() / "models" / source
    if "/" in source or not (folder / "config.json").exists():
        return None
    return "pictures" if in_parts(folder) else "digits"


def own_source(model: str, source: str | None) -> str:
    """Where a model's questions come from: `source`, or the world that it was trained on, for which
    "own" stands too.

    Raises ValueError where neither says it.
    """
    found = world_of(model) if source in (None, OWN_WORLD) else source
    if found is None:
        raise ValueError(
            f"source: expected the name of one for {without_folders(model)!r}, "
            "which has no world of its own, got none"
        )
    return found


def subject_of(name: str) -> str | None:
    """Which kind of subject a name is: SMALL, PRETRAINED, or None.

    Small is a whole model of the repository, pretrained one in parts whose decoder was published,
    and that decoder by itself.  None: a control with a random decoder, and every other model.

    Raises ValueError where the parts of a model cannot be read.
    """
    folder = data_folder() / "models" / name
    if name == NAME:
        return PRETRAINED
    if "/" in name or not (folder / "config.json").exists():
        return None
    if not in_parts(folder):
        return SMALL
    return PRETRAINED if has_published_decoder(name, folder) else None


def loaded_subject(vlm: VisionLanguageModel) -> str | None:
    """`subject_of` of a model's name, if that is where it was loaded from; otherwise None.

    Raises what `subject_of` does.
    """
    source = vlm.model.name_or_path
    packaged = vlm.name == NAME and is_package(source)
    own = packaged or Path(source) == data_folder() / "models" / vlm.name
    return subject_of(vlm.name) if own else None


def _same(names: Sequence[str]) -> bool:
    """Whether two names lead to one model."""
    return len({Path(resolve(name)).resolve() for name in names}) < len(names)


def recipe_of(name: str) -> str:
    """What models share that differ only in their training seed: the name without "-seedN"."""
    return re.sub(r"-seed\d+$", "", name)


def saved_steps(name: str) -> dict[int, Path]:
    """The weights that the repository keeps of a model's training, by step, first to last.

    Raises FileNotFoundError if it keeps none.
    """
    folder = data_folder() / "models" / "checkpoints"
    found = sorted((folder / name).glob("step-*.safetensors"))
    if not found:
        known = sorted(path.parent.name for path in folder.glob("*/step-*.safetensors"))
        raise FileNotFoundError(
            f"name: expected a model with saved steps, one of {sorted(set(known))}, got {name!r}"
        )
    return {int(path.stem.removeprefix("step-")): path for path in found}


@contextmanager
def saved_weights(vlm: VisionLanguageModel, weights: Path) -> Iterator[VisionLanguageModel]:
    """Within the block the model has the weights of a saved step, and goes by its name.

    Output weights may be tied, and then missing in the file.

    Raises ValueError where the weights are not those of a model of this shape, or not finite.
    """
    learned = {name: tensor.clone() for name, tensor in vlm.model.state_dict().items()}
    with changing(vlm, weights.stem) as early:
        try:
            _fill(vlm, weights)
            yield early
        finally:
            vlm.model.load_state_dict(learned)


def _fill(vlm: VisionLanguageModel, weights: Path) -> None:
    try:
        missing, strange = vlm.model.load_state_dict(load_file(weights), strict=False)
    except RuntimeError as error:
        raise ValueError(f"weights: {weights.name} does not fit {vlm.name}: {error}") from error
    if vlm.model.config.tie_word_embeddings:
        missing = [name for name in missing if name != "lm_head.weight"]
    if missing or strange:
        raise ValueError(
            f"weights: {weights.name} does not fit {vlm.name}; missing {missing}, unknown {strange}"
        )
    check_finite(vlm.name, vlm.model)
