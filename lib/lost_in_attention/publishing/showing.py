"""Figures and tables of a long run, some of which may turn out to have nothing to show.

Hours of answers must not be lost because no weight was large enough or no answer was wrong:
where there is nothing to show a sentence stands in its place, and the chapter goes on.
"""

from html import escape

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from lost_in_attention.publishing import page
from lost_in_attention.publishing.report import Run


def show_figure(
    run: Run, fig: Figure, name: str, *, data: pd.DataFrame, value: str, alt: str, caption: str
) -> None:
    """`run.figure`, or a sentence where the column `value` of `data` holds no number."""
    if data.empty or data[value].isna().all():
        plt.close(fig)
        say(f"There is nothing to draw here. It would have been: {caption}")
        return
    run.figure(fig, name, data=data, alt=alt, caption=caption)


def show_table(run: Run, table: pd.DataFrame, caption: str) -> None:
    """`run.table`, or a sentence where the table has no row."""
    if table.empty:
        say(f"There is nothing to list here. It would have been: {caption}.")
        return
    run.table(table, caption)


def say(sentence: str) -> None:
    """Show a sentence in the page."""
    page.show(f"<p>{escape(sentence)}</p>", sentence)
