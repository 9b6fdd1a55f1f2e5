"""Learning rates: those that a range test tried, and those of a schedule."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from carsclf.figures.style import GRID, INK, MODE_COLOURS, PALE, look, save
from carsclf.files import AnyPath

COLOURS = list(MODE_COLOURS.values())


def draw_range_test(table: pd.DataFrame, suggestions: Mapping[str, float], path: AnyPath) -> None:
    """Loss against rate: of each step (pale), smoothed, and a line at each rule's suggestion.

    Columns: lr, loss, smoothed.
    """
    with look():
        figure = Figure(figsize=(7.2, 3.6), layout="constrained")
        axis = figure.subplots()
        axis.plot(table["lr"], table["loss"], color=PALE, lw=0.8, alpha=0.6)
        axis.plot(table["lr"], table["smoothed"], color=INK, lw=2)
        low, high = table[["loss", "smoothed"]].min().min(), table["smoothed"].max()
        margin = 0.35 * (high - low)  # room for the texts; single steps may explode far above
        axis.set(xscale="log", xlabel="optimizer.lr", ylim=(low - margin / 5, high + margin))
        for i, (rule, rate) in enumerate(suggestions.items()):
            _mark(axis, rate, f"{rule} {rate:g}", COLOURS[i], 0.97 - 0.07 * i)
        axis.set_title("training loss of one step at each rate (pale), and smoothed")
        axis.grid(axis="y", color=GRID)
        save(figure, path)


def _mark(axis: Axes, x: float, text: str, colour: str, height: float) -> None:
    """A line from the bottom to a text at that share of the axis."""
    axis.axvline(x, color=colour, lw=1.2)
    axis.annotate(
        text,
        (x, height),
        xycoords=("data", "axes fraction"),
        xytext=(4, 0),
        textcoords="offset points",
        color=colour,
        va="center",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
    )


def draw_schedule(table: pd.DataFrame, title: str, path: AnyPath) -> None:
    """The rate of each group in each step, and below it the momentum where that moves.

    Columns: epoch (fractions of one), group, then what moves, each in an axis of its own.
    """
    moved = list(table.columns[2:])
    with look():
        figure = Figure(figsize=(7.2, 1.2 + 1.9 * len(moved)), layout="constrained")
        axes = np.atleast_1d(figure.subplots(len(moved), sharex=True))
        for axis, column in zip(axes, moved, strict=True):
            groups = list(table.groupby("group", sort=False))
            if len(groups) > len(COLOURS):  # layers: the lowest, the middle, the last, and the head
                groups = [groups[0], groups[len(groups) // 2], *groups[-2:]]
            for colour, (name, rows) in zip(COLOURS, groups, strict=False):
                axis.plot(
                    rows["epoch"],
                    rows[column],
                    color=colour,
                    lw=1.5,
                    label=str(name),
                    ds="steps-post",
                )
            axis.set_ylabel(column)
            axis.grid(color=GRID)
        axes[0].set_ylim(bottom=0)
        axes[0].set_title(title)
        if len(set(table["group"])) > 1:
            axes[0].legend(frameon=False, ncols=2, loc="lower right", bbox_to_anchor=(1, 1))
        axes[-1].set(xlabel="epoch", xlim=(0, np.floor(table["epoch"].max()) + 1))
        save(figure, path)
