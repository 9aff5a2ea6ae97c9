"""Several models as witnesses to one claim: which to ask, how they differ, what they say together.

A chapter measures every model by itself and keeps one row a sample; intervals resample whole
images, because questions about one image share most of their tokens.  One model at several steps
of its training is several models too.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
from safetensors.torch import load_file

from lost_in_attention.changed import changing
from lost_in_attention.models import ModelName, VisionLanguageModel
from lost_in_attention.models.load import resolve
from lost_in_attention.models.weights import check_finite
from lost_in_attention.paths import data_folder
from lost_in_attention.stats import mean_intervals

# Everything that the repository holds, and one model a recipe.
SHIPPED, FAMILIES = "zoo", "families"
_SAMPLE = ["sample", "image_source"]


def chosen_models(models: str) -> list[str]:
    """The names in a comma-separated list.

    "zoo" is every model that the repository holds, "families" the first training seed of each.

    Raises ValueError on an empty or repeated name, and FileNotFoundError on an unknown one.
    """
    if models in (SHIPPED, FAMILIES):
        held = sorted(path.parent.name for path in data_folder().glob("models/*/config.json"))
        return [name for name in held if models == SHIPPED or name == recipe_of(name)]
    names = [ModelName(name.strip()) for name in models.split(",")]
    if not all(names) or len(set(names)) < len(names):
        raise ValueError(
            f"models: expected {SHIPPED!r}, {FAMILIES!r} or different names parted by commas, "
            f"got {models!r}"
        )
    for name in names:
        resolve(name)
    return names


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


def over_layers(
    measured: pd.DataFrame, quantities: Sequence[str], by: Sequence[str], how: str = "mean"
) -> pd.DataFrame:
    """One row a sample and group `by`: the mean (or `how`="sum") over layers, all alike.

    `depth.over_depth` weighs layers so that models of any depth can be compared.
    """
    cells = measured.groupby([*_SAMPLE, *by], sort=False)[list(quantities)]
    return cells.agg(how).reset_index()


def intervals(
    per_sample: pd.DataFrame, quantities: Sequence[str], by: Sequence[str], *, seed: int
) -> pd.DataFrame:
    """Mean and 95% interval of every quantity in every group, resampling whole images."""
    return mean_intervals(per_sample, quantities, by, unit="image_source", seed=seed)


def module_gaps(
    per_sample: pd.DataFrame, quantities: Sequence[str], by: Sequence[str], *, seed: int
) -> pd.DataFrame:
    """FFN minus attention with 95% intervals, subtracted sample by sample.

    `per_sample` has a column module; the columns are those of `stats.mean_intervals`.
    """
    index = [*_SAMPLE, *by]
    modules = {
        name: rows.set_index(index)[list(quantities)] for name, rows in per_sample.groupby("module")
    }
    gaps = (modules["ffn"] - modules["attention"]).reset_index()
    return intervals(gaps, quantities, by, seed=seed)


def side_of(low: float, high: float, border: float = 0) -> bool | None:
    """Whether an interval lies above (True) or below (False) `border`; None if it holds it."""
    if low > border:
        return True
    return False if high < border else None


def within(low: float, high: float, number: float, distance: float) -> bool | None:
    """Whether an interval lies no further than `distance` from a number, or wholly further.

    None where it does neither, or where there is no interval.
    """
    if number - distance <= low <= high <= number + distance:
        return True
    return False if high < number - distance or low > number + distance else None


def unanimous(answers: Iterable[bool | None]) -> bool | None:
    """Several questions as one: True if all say yes, False if one says no, None if one is open.

    What all *models* say together is `verdicts.together`.

    Raises ValueError if there are no answers.
    """
    answers = list(answers)
    if not answers:
        raise ValueError("answers: expected at least one, got none")
    if False in answers:
        return False
    return None if None in answers else True


def labour_divided(gaps: pd.DataFrame) -> pd.DataFrame:
    """Both halves of claim C073 model by model, from `module_gaps` of rid and mixig.

    Index model; columns rid (is the FFN's RID above attention's?), mixig (is attention's MixIG
    above the FFN's?) and both.
    """
    found = gaps.set_index(["quantity", "model"])[["low", "high"]]
    rows = {}
    for model in gaps["model"].unique():
        rid = side_of(*found.loc[("rid", model)])
        mixig = opposite(side_of(*found.loc[("mixig", model)]))
        rows[model] = {"rid": rid, "mixig": mixig, "both": unanimous([rid, mixig])}
    return pd.DataFrame.from_dict(rows, orient="index", dtype=object)


def opposite(answer: bool | None) -> bool | None:
    """No for yes, yes for no; open stays open."""
    return None if answer is None else not answer


def crowded_models(measured: pd.DataFrame) -> list[str]:
    """The models of a table of `measure` that had as many tokens as features, or more.

    There the feature space is full, so feature novelty is zero by construction and support
    innovation is token novelty alone.  In every published model it is the other way round.
    """
    crowded = measured["tokens"] >= measured["features"]
    return measured.loc[crowded, "model"].unique().tolist()


def without_forced_zeros(measured: pd.DataFrame) -> pd.DataFrame:
    """The table without the feature novelties that are zero by construction (`crowded_models`)."""
    forced = measured["tokens"] >= measured["features"]
    return measured.assign(feature_novelty=measured["feature_novelty"].mask(forced))


def tally(answers: Iterable[bool | None]) -> str:
    """How many models say yes, say no and leave it open, for a table."""
    answers = list(answers)
    yes, no = (sum(answer is one for answer in answers) for one in (True, False))
    return f"{yes} yes, {no} no, {len(answers) - yes - no} open"


def in_words(row: pd.Series) -> str:
    """A mean with its interval, for a table; "no value" where there is no mean."""
    if pd.isna(row["mean"]):
        return "no value"
    return f"{row['mean']:.3g} [{row['low']:.3g}, {row['high']:.3g}]"
