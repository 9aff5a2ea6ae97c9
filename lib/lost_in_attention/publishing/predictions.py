"""Predictions that were written down before anything was measured, and how they came out.

A file in data/predictions holds one a line: id, quantity, least, most, statement.  The prediction
says that the quantity lies between least and most.
"""

from dataclasses import dataclass

import pandas as pd

from lost_in_attention.publishing.votes import in_words
from lost_in_attention.runs.paths import data_folder

AWAITED = "not measured yet"


@dataclass(frozen=True)
class Prediction:
    """That `quantity` lies between `least` and `most`, in words `statement`.

    Raises ValueError on an empty text, or unless least is below most.
    """

    id: str
    quantity: str
    least: float
    most: float
    statement: str

    def __post_init__(self) -> None:
        for name in ("id", "quantity", "statement"):
            if not getattr(self, name).strip():
                raise ValueError(f"{name}: expected text in prediction {self.id!r}, got none")
        if not self.least < self.most:
            raise ValueError(
                f"least, most: expected least below most in {self.id}, "
                f"got {self.least} and {self.most}"
            )

    def answer(self, low: float, high: float) -> str:
        """right if the whole interval lies in the range, wrong if none of it does, else open."""
        if self.least <= low and high <= self.most:
            return "right"
        return "wrong" if high < self.least or low > self.most else "open"


def predictions(name: str) -> list[Prediction]:
    """Those of data/predictions/<name>.csv, in order.

    Raises ValueError on another set of columns, a repeated id, or what `Prediction` raises.
    """
    table = pd.read_csv(data_folder() / "predictions" / f"{name}.csv")
    wanted = ["id", "quantity", "least", "most", "statement"]
    if list(table) != wanted:
        raise ValueError(f"predictions: expected the columns {wanted}, got {list(table)}")
    if table["id"].duplicated().any():
        raise ValueError(f"predictions: expected each id once, got {list(table['id'])}")
    return [Prediction(**row) for row in table.to_dict("records")]


def compared(made: list[Prediction], measured: pd.DataFrame | None) -> list[str]:
    """What became of each: the answer with mean and interval, or that it was not measured yet.

    `measured` has the columns quantity, mean, low, high; None before anything was measured.
    """
    found = {} if measured is None else {row["quantity"]: row for _, row in measured.iterrows()}
    return [
        f"{each.answer(row['low'], row['high'])}: {in_words(row)}"
        if (row := found.get(each.quantity)) is not None
        else AWAITED
        for each in made
    ]
