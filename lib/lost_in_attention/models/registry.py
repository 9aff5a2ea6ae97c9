"""The registry of published models: what is known of each before it is loaded.

The facts are data, `published.toml` beside this module, and what the paper prints of a model is
read from the files in data/paper.

registry()                        # every model
registered("Qwen-2.5-VL-7B")      # one, by its name or its hub id
"""

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import pandas as pd
import torch

from lost_in_attention.models.families import family_named
from lost_in_attention.models.families.base import Layers
from lost_in_attention.runs.paths import data_folder
from lost_in_attention.runs.provenance import without_folders

# How a model is asked (Appendix C.2): with the question alone, by a protocol of its own, or with
# the reasoning trigger.
Category = Literal["general", "vision-query", "reasoning"]
# The first and the last percentile of the heads of a layer.
Band = tuple[float, float]

_FILE = Path(__file__).with_name("published.toml")
_SHAPE = ("family", "parameters", "layers", "hidden_size")


@dataclass(frozen=True, kw_only=True)
class RegisteredModel:
    """One published model.

    `name` is what this project calls it, `hub` its id on the hub, `revision` the commit that is
    loaded unless another is asked for ("": unknown, the newest is, and it is recorded).
    `licence` is the weights' ("": unknown), `parameters` their number in billions.  `base` is the
    registered model that it was trained from, if its shape and size are taken from there.
    `reason` says why it is not supported, "" where it is; `notes` what is not followed of the
    authors' own use of it, and what else is known.  `called` are further names in the paper's
    tables, `in_paper` tells the paper's variants from other models.
    """

    name: str
    hub: str
    revision: str
    family: str
    category: Category
    licence: str
    parameters: float
    layers: int
    hidden_size: int
    base: str = ""
    reason: str = ""
    notes: str = ""
    called: tuple[str, ...] = ()
    in_paper: bool = True

    @property
    def supported(self) -> bool:
        """Whether `load` takes it."""
        return not self.reason

    def is_called(self, name: str) -> bool:
        """Whether this is its name or hub id; the hub does not tell capitals apart."""
        return bool(name) and name.casefold() in (self.name.casefold(), self.hub.casefold())

    def weight_bytes(self, dtype: torch.dtype) -> float:
        """What its weights take in memory, from the rounded number of parameters."""
        return self.parameters * 1e9 * dtype.itemsize

    @property
    def names(self) -> set[str]:
        """What the paper's tables call it: its name, the last part of its hub id, and others."""
        return {self.name, self.hub.partition("/")[2], *self.called}

    @property
    def sap_layers(self) -> Layers | None:
        """The layers whose attention the paper replaces, first and last; None if it prints none.

        Of Table 2, and for the models of Table 8 what its caption fixes for Qwen, which are those
        of Table 2 too.
        """
        table = _printed("table2_sap", self.names)
        for layers in table["affected_layers"]:
            if layers != "none":
                first, last = layers.split("-")
                return int(first), int(last)
        in_table8 = len(_printed("table8_variants", self.names)) > 0
        return family_named(self.family).published.layers if in_table8 else None

    @property
    def bands(self) -> tuple[Band, ...]:
        """The bands of heads whose attention the paper replaces in turn (Tables 4, 5 and 8)."""
        tables = [_printed(name, self.names) for name in ("tables4_5_heads", "table8_variants")]
        return _different(pd.concat(tables), ["head_min", "head_max"])

    @property
    def layer_ranges(self) -> tuple[Layers, ...]:
        """The layers whose attention the paper replaces in turn (Tables 6 and 7)."""
        return _different(_printed("tables6_7_layers", self.names), ["layer_first", "layer_last"])


@cache
def registry() -> tuple[RegisteredModel, ...]:
    """Every published model, the paper's fifteen variants first."""
    entries = tomllib.loads(_FILE.read_text())["model"]
    known = {entry["name"]: entry for entry in entries}
    return tuple(_model(entry, known) for entry in entries)


def paper_variants() -> tuple[RegisteredModel, ...]:
    """The fifteen variants that the paper evaluates (Section 4.1)."""
    return tuple(model for model in registry() if model.in_paper)


def registered(name: str) -> RegisteredModel | None:
    """The model of this name or hub id, in whatever capitals; None if it is not registered."""
    return next((model for model in registry() if model.is_called(name)), None)


def spelled(name: str) -> str:
    """A registered hub id in its own capitals; any other name as it is."""
    model = registered(name) if "/" in name else None
    return model.hub if model else name


def folder_name(model: str) -> str:
    """What a model's results are kept under: its name without folders, "--" for each "/"."""
    name = PurePosixPath(str(without_folders(spelled(model))))
    return str(name).strip("/").replace("/", "--")


def _model(entry: dict[str, Any], known: dict[str, dict[str, Any]]) -> RegisteredModel:
    shape = known[entry["base"]] if "base" in entry else entry
    called = tuple(entry.get("called", ()))
    return RegisteredModel(**entry | {each: shape[each] for each in _SHAPE} | {"called": called})


@cache
def _table(name: str) -> pd.DataFrame:
    path = data_folder() / "paper" / f"{name}.csv"
    if not path.is_file():
        raise FileNotFoundError(f"data folder: expected one that holds {path}, got none")
    return pd.read_csv(path)


def _printed(table: str, names: set[str]) -> pd.DataFrame:
    """The rows of a table of the paper that are about one model."""
    rows = _table(table)
    return rows[rows["model"].isin(names)]


def _different(rows: pd.DataFrame, columns: list[str]) -> tuple[tuple[Any, Any], ...]:
    pairs = rows[columns].drop_duplicates()
    return tuple((first, last) for first, last in pairs.itertuples(index=False, name=None))
