"""Why replaced attention costs nothing, where it does: what the controls allow one to say."""

import pandas as pd

NO_LOSS = "cannot tell"
COSTS = "costs"
ONE_ROW = "costs, unless one row alone is replaced"
OPEN = "undecided"
REDUNDANT = "free, even everywhere"
FEW_HEADS = "free, because little is replaced"
FREE = "free, everywhere undecided"
READINGS = (NO_LOSS, COSTS, ONE_ROW, OPEN, REDUNDANT, FEW_HEADS, FREE)


def readings(cells: pd.DataFrame, *, margin: float, prior: str = "encoder") -> pd.DataFrame:
    """One row a model and benchmark: model, benchmark, reading (one of `READINGS`).

    `cells` are those of `against_vanilla` for the whole default grid.  Free means that the
    interval of the change lies above -`margin`; costs, that it lies below 0 and is not free.

    - Where not even a blank image costs, the benchmark cannot tell.
    - Where the paper's preset costs and the released one does not, one row was too few to matter.
    - Where the preset is free but the same prior in all heads of all layers costs, the heads that
      were left alone carry the answer; where that is free too, no head is needed.

    Raises ValueError unless `margin` is positive.
    """
    if margin <= 0:
        raise ValueError(f"margin: expected a positive number, got {margin}")
    rows = []
    for (model, benchmark), own in cells.groupby(["model", "benchmark"], sort=False):
        changes = own.set_index(["preset", "variant"])[["change_low", "change_high"]]
        verdict = _reading(changes, prior, margin)
        rows.append({"model": model, "benchmark": benchmark, "reading": verdict})
    return pd.DataFrame(rows)


def reproduces(measured: pd.Series, printed: pd.Series, *, tolerance: float) -> bool | None:
    """Whether every printed number was found again within the tolerance, cell by cell.

    None, undecided, unless all cells that were printed have been measured.
    """
    distances = (measured.reindex(printed.index) - printed).abs()
    return None if distances.isna().any() else bool((distances <= tolerance).all())


def _reading(changes: pd.DataFrame, prior: str, margin: float) -> str:
    def free(preset: str) -> bool:
        return changes.loc[(preset, prior), "change_low"] > -margin

    def costs(preset: str) -> bool:
        return not free(preset) and changes.loc[(preset, prior), "change_high"] < 0

    if changes.loc[("none", "blank"), "change_high"] >= 0:
        return NO_LOSS
    if costs("paper"):
        return ONE_ROW if free("released") else COSTS
    if not free("paper"):
        return OPEN
    if free("everywhere"):
        return REDUNDANT
    return FEW_HEADS if costs("everywhere") else FREE
