"""Pictures of a search: tables in, a picture file out."""

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = {"random": "#8a8a8a", "asha": "#3b6fb6", "bohb": "#d1661d", "multitask": "#2f8f5b"}


def draw_replay(medians: pd.DataFrame, path: Path) -> None:
    """Regret over spent budget, one panel per table.

    Columns: table, search, budget (full trainings), regret (median over seeds), low, high.
    """
    tables = list(dict.fromkeys(medians["table"]))
    columns = min(4, len(tables))
    rows = -(-len(tables) // columns)
    figure = Figure(figsize=(3.3 * columns, 2.7 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis, table in zip(axes.flat, tables, strict=False):
        for search, part in medians[medians["table"] == table].groupby("search", sort=False):
            colour = COLOURS.get(str(search), "black")
            axis.fill_between(
                part["budget"], part["low"], part["high"], color=colour, alpha=0.12, lw=0
            )
            axis.plot(part["budget"], part["regret"], color=colour, label=search, lw=1.6)
        shown = medians[(medians["table"] == table) & (medians["budget"] >= 0.5)]
        axis.set(xscale="log", yscale="log", xlim=(0.5, 20), title=table)
        axis.set_ylim(max(1e-3, shown["regret"].min() * 0.8), shown["high"].max() * 1.1)
        axis.set_xticks([0.5, 1, 2, 5, 10, 20], ["0.5", "1", "2", "5", "10", "20"])
        axis.minorticks_off()
        axis.title.set_fontsize(9)
        _plain(axis)
    for axis in list(axes.flat)[len(tables) :]:
        axis.axis("off")
    handles, labels = axes.flat[0].get_legend_handles_labels()
    spare = list(axes.flat)[len(tables) :]
    (spare[0] if spare else axes.flat[0]).legend(
        handles, labels, frameon=False, loc="center" if spare else "best"
    )
    figure.supxlabel("budget spent (full trainings)", fontsize=9)
    figure.supylabel("accuracy short of the best recorded", fontsize=9)
    figure.savefig(path, dpi=150)


def _plain(axis: Axes) -> None:
    """No box, a light grid."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(color="#dddddd", lw=0.6)
    axis.tick_params(labelsize=8)
