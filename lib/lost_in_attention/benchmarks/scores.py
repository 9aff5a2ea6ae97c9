"""Scores that more than one benchmark uses."""

import pandas as pd


def plain(table: pd.DataFrame) -> dict[str, float]:
    """Accuracy over all answers, within each group, and the share of unparsed replies."""
    groups = table.groupby("group")["correct"].mean()
    return {
        "accuracy": float(table["correct"].mean()),
        **{f"accuracy/{name}": float(value) for name, value in groups.items()},
        "unparsed": float(table["parsed"].isna().mean()),
    }


def all_right(table: pd.DataFrame, keys: list[str]) -> float:
    """The share of groups, named by `keys`, in which every answer is right."""
    return float(table.groupby(keys)["correct"].all().mean())


def alike(table: pd.DataFrame) -> pd.Series:
    """Every question counts alike in the accuracy: a weight of 1 each."""
    return pd.Series(1.0, index=table.index)
