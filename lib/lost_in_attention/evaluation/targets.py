"""What each table and figure of the paper needs: which results, and of which models."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

# Variants by the paper's names.
_TABLE_2 = ("Qwen-2.5-VL-3B", "Qwen-2.5-VL-7B", "LLaVA-1.5-7B", "LLaVA-OneVision-7B")
_TABLES_4_TO_7 = ("Qwen-2.5-VL-7B", "LLaVA-1.5-7B", "LLaVA-OneVision-7B")
_TABLE_8 = (
    "Qwen-2.5-VL-32B", "CoF-rl", "CoF-sft", "Reverse", "MM-Eureka-7B", "MM-Eureka-32B",
    "Orsta-7B", "Ocean-R1-7B",
)  # fmt: skip


@dataclass(frozen=True)
class Target:
    """A table or figure: the measurements, grids and traces that it is made of.

    `measurements` are names in `MEASUREMENTS`, `grids` in `GRIDS`.  `variants` are those that the
    paper prints, by its names; all of its variants where there is none.
    """

    measurements: tuple[str, ...] = ()
    grids: tuple[str, ...] = ()
    traced: bool = False
    variants: tuple[str, ...] = ()


TARGETS: Mapping[str, Target] = MappingProxyType({
    "table1": Target(measurements=("updates", "baselines")),
    "figure2": Target(measurements=("updates", "baselines", "tolerance")),
    "figure3": Target(measurements=("updates",)),
    "table2": Target(grids=("default",), variants=_TABLE_2),
    "tables4_7": Target(grids=("ablations",), variants=_TABLES_4_TO_7),
    "table8": Target(grids=("ablations",), variants=_TABLE_8),
    "tracing": Target(traced=True),
})  # fmt: skip
"""Section 4.2: Table 1, Figures 2 and 3a, tracing (Appendix E).  Section 4.3 and Appendix D: the
tables of replaced attention."""
