"""The training curve that lies beside a model's card."""

import math
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from lost_in_attention.publishing.plots import use_house_style

_ABREAST = 4


def write_curve(curve: pd.DataFrame, folder: Path) -> None:
    """Write training_curve.csv and .png: loss and accuracies over the steps, a panel a phase."""
    curve.to_csv(folder / "training_curve.csv", index=False)
    use_house_style()
    accuracy = [column for column in curve if column.endswith("accuracy")]
    phases = curve["phase"].unique()
    lines = math.ceil(len(phases) / _ABREAST)
    fig, axes = plt.subplots(
        lines, math.ceil(len(phases) / lines), figsize=(10, 3.2 * lines), layout="constrained"
    )
    for ax, phase in zip(axes.flat, phases, strict=True):
        rows = curve[curve["phase"] == phase].set_index("step")
        for column in ["loss", *accuracy]:
            known = rows[column].dropna()
            if len(known):
                ax.plot(known.rolling(5, min_periods=1).mean(), label=column.replace("_", " "))
        ax.set(title=phase, xlabel="step", ylim=(0, None))
        ax.legend(frameon=False)
    fig.savefig(folder / "training_curve.png", dpi=110)
    plt.close(fig)
