"""Hours paid and hours waited."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from carsclf.figures.style import GRID, INK, PALE, label_ends, save, shade

TICKS = [s / 3600 for s in (0.01, 0.1, 1, 10, 60, 600)] + [1, 10, 100, 1000, 10_000]
"""Round times, in hours."""


def draw_costs(table: pd.DataFrame, path: Path) -> None:
    """Two bars per study: what its trials cost, and what as many full trainings would have.

    Columns: label, mode, paid, as_full (device hours).
    """
    figure = Figure(figsize=(7.2, 0.95 * len(table) + 0.8), layout="constrained")
    axis = figure.subplots()
    longest = max(table["as_full"].max(), table["paid"].max())
    for y, row in enumerate(table.iloc[::-1].to_dict("records")):
        bars = (("as_full", "baseline", "all full-length", -0.19), ("paid", "", "paid", 0.19))
        for column, role, said, shift in bars:
            axis.barh(y + shift, row[column], height=0.34, color=shade(row["mode"], role))
            text = f"{said}, {hours(row[column])}"
            axis.annotate(text, (row[column], y + shift), xytext=(5, 0), va="center",
                          textcoords="offset points", color=INK)  # fmt: skip
    axis.set_yticks(range(len(table)), table["label"][::-1])
    axis.set(xlim=(0, 1.3 * longest), xlabel="device hours")
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    axis.grid(axis="x", color=GRID)
    save(figure, path)


def draw_workers(
    studies: dict[str, tuple[str, pd.DataFrame, tuple[int, float]]], path: Path
) -> None:
    """Wall-clock time against workers: simulated, as a mere division (dotted), measured (a ring).

    label -> (mode, table of analysis.parallel.scaling, (workers, hours) measured)
    """
    figure = Figure(figsize=(7.2, 3.6), layout="constrained")
    axis = figure.subplots()
    ends = []
    for label, (mode, table, measured) in studies.items():
        colour = shade(mode)
        axis.plot(table["workers"], table["hours"], color=colour, lw=2)
        axis.plot(table["workers"], table["division"], color=colour, lw=1, ls=":")
        ends.append((100.0, float(table["hours"].iloc[-1]), label, colour))
        if measured is not None:
            axis.scatter(*measured, s=60, facecolor="white", edgecolor=colour, lw=2, zorder=3)
            axis.annotate("measured", measured, xytext=(9, 3), textcoords="offset points",
                          color=colour, fontsize=8)  # fmt: skip
    axis.set(xscale="log", yscale="log", xlim=(0.93, 100), xlabel="workers")
    axis.set_title("wall-clock hours; dotted: if nobody ever waited")
    axis.set_xticks([1, 2, 5, 10, 20, 50, 100], ["1", "2", "5", "10", "20", "50", "100"])
    axis.minorticks_off()
    low, high = axis.get_ylim()
    shown = [t for t in TICKS if low <= t <= high]
    axis.set_yticks(shown, [hours(t) for t in shown])
    axis.minorticks_off()
    label_ends(axis, ends, gap=float(np.log10(high / low)) / 15)
    axis.grid(color=GRID)
    axis.axvline(20, color=PALE, lw=0.8)
    save(figure, path)


def hours(value: float) -> str:
    """Hours as people say them: seconds, minutes or hours."""
    if value * 3600 < 59.5:
        return f"{value * 3600:.2g} s" if value * 3600 < 9.95 else f"{value * 3600:.0f} s"
    if value < 0.995:
        return f"{value * 60:.2g} min" if value * 60 < 9.95 else f"{value * 60:.0f} min"
    digits = 2 if value < 10 else 1 if value < 100 else 0
    text = f"{value:,.{digits}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) + " h"
