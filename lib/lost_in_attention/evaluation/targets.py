"""What each table and figure of the paper needs: which results, and of which models."""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType


@dataclass(frozen=True)
class Target:
    """A table or figure: the measurements, grids and traces that it is made of.

    `measurements` are names in `MEASUREMENTS`, `grids` in `GRIDS`.  `printed` are files in
    data/paper that tell which variants the paper prints; all of them where there is none.
    """

    measurements: tuple[str, ...] = ()
    grids: tuple[str, ...] = ()
    traced: bool = False
    printed: tuple[str, ...] = ()


TARGETS: Mapping[str, Target] = MappingProxyType({
    "table1": Target(measurements=("updates", "baselines")),
    "figure2": Target(measurements=("updates", "baselines", "tolerance")),
    "figure3": Target(measurements=("updates",)),
    "table2": Target(grids=("default",), printed=("table2_sap",)),
    "tables4_7": Target(grids=("ablations",), printed=("tables4_5_heads", "tables6_7_layers")),
    "table8": Target(grids=("ablations",), printed=("table8_variants",)),
    "tracing": Target(traced=True),
})  # fmt: skip
"""Section 4.2: Table 1, Figures 2 and 3a, tracing (Appendix E).  Section 4.3 and Appendix D: the
tables of replaced attention."""


# Targets that are about models, not tables of the paper.
BESIDE = ("sinks", "report")


def unknown_target(word: str) -> str:
    """The line for a word that is none of the workflow's targets, with the one that is nearest."""
    known = ["all", *TARGETS, *BESIDE]
    nearest = get_close_matches(word, known, n=1)
    return f"target: expected one of {known}, got {word!r}" + "".join(
        f"; did you mean {each!r}?" for each in nearest
    )
