"""What an advice weighed: accuracy against time, by epochs, and by labelled pictures."""

# a table's column, row and part are one type to pyright
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

from carsclf.analysis.pareto import pareto
from carsclf.figures.cost import hours
from carsclf.figures.style import GRID, INK, PALE, save, shade, whole_steps

ROUND = [1, 5, 30, 120, 600, 3600, 5 * 3600, 24 * 3600]
"""Seconds that are round in seconds, minutes or hours."""


def draw_choices(table: pd.DataFrame, path: Path, latency: float | None = None) -> None:
    """Accuracy against the seconds of a training, and against those of one answer.

    Columns: label, mode, seconds, answer_ms, top1, low, high, kind (measured, expected: hollow).
    Lines join what nothing beats; latency: a limit in milliseconds, as a dotted line.
    """
    figure = Figure(figsize=(7.6, 3.9), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for axis, column, title in (
        (left, "seconds", "time to train"),
        (right, "answer_ms", "milliseconds of one answer"),
    ):
        front = table[pareto(table["top1"].to_numpy(), table[column].to_numpy())]
        front = front.sort_values(column)
        axis.plot(front[column], front["top1"], color=PALE, lw=1, zorder=1)
        _points(axis, table, column)
        axis.set(xscale="log", title=title)
        axis.margins(x=0.18, y=0.12)
        axis.grid(color=GRID)
        axis.minorticks_off()
    left.set_xticks(_ticks(table["seconds"], ROUND))
    left.xaxis.set_major_formatter(FuncFormatter(lambda s, _: hours(s / 3600)))
    left.minorticks_off()
    right.set_xticks(
        _ticks(table["answer_ms"], [m * 10.0**e for e in range(-3, 6) for m in (1, 2, 5)])
    )
    right.xaxis.set_major_formatter(FuncFormatter(lambda ms, _: f"{ms:g}"))
    right.minorticks_off()
    left.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    left.set_ylabel("top-1")
    if latency is not None:
        right.axvline(latency, color=INK, lw=1, ls=":")
    save(figure, path)


def draw_epochs(
    tried: pd.DataFrame, ahead: pd.DataFrame, measured: tuple[int, float] | None, path: Path
) -> None:
    """Short complete trainings, what was foretold from them, and what came of it.

    tried: epochs, top1; ahead: epochs, top1, low, high; measured: epochs and top-1 of the training.
    """
    figure = Figure(figsize=(7.2, 3.3), layout="constrained")
    axis = figure.subplots()
    colour = shade("finetune")
    axis.fill_between(ahead["epochs"], ahead["low"], ahead["high"], color=colour, alpha=0.13, lw=0)
    axis.plot(ahead["epochs"], ahead["top1"], color=colour, lw=1.6, ls="--", label="foretold")
    axis.scatter(tried["epochs"], tried["top1"], s=34, color=colour, zorder=3, label="tried")
    if measured is not None:
        axis.scatter(*measured, s=60, marker="D", color=INK, zorder=4, label="measured at the end")
    axis.set(xlabel="epochs of a complete training", ylim=(None, min(1.0, axis.get_ylim()[1])))
    axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    whole_steps(axis)
    axis.legend(frameon=False, loc="lower right")
    axis.grid(axis="y", color=GRID)
    save(figure, path)


def draw_growth(draws: pd.DataFrame, law: pd.DataFrame | None, path: Path) -> None:
    """Accuracy as the training pictures grow: heads on draws, and a power law with its band.

    draws: images, top1; law: images, top1, low, high, beyond the most pictures there are.
    """
    figure = Figure(figsize=(7.2, 3.5), layout="constrained")
    axis = figure.subplots()
    colour = shade("freeze")
    if law is not None:
        there = draws["images"].max()
        axis.fill_between(law["images"], law["low"], law["high"], color=colour, alpha=0.13, lw=0)
        for part, style in (
            (law[law["images"] <= there], "-"),
            (law[law["images"] >= there], "--"),
        ):
            axis.plot(part["images"], part["top1"], color=colour, lw=1.6, ls=style)
        axis.axvline(there, color=PALE, lw=0.8)
        axis.annotate("all there are", (there, 0.03), xycoords=("data", "axes fraction"),
                      xytext=(4, 0), textcoords="offset points", color=PALE)  # fmt: skip
    axis.scatter(draws["images"], draws["top1"], s=16, color=colour, alpha=0.65, lw=0, zorder=3)
    axis.set(xscale="log", xlabel="labelled training pictures")
    sizes = sorted({*draws["images"], *(() if law is None else (int(law["images"].max()),))})
    axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axis.minorticks_off()
    axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axis.grid(axis="y", color=GRID)
    save(figure, path)


def _points(axis: Axes, table: pd.DataFrame, column: str) -> None:
    rows: list[dict[Any, Any]] = table.to_dict("records")
    span = float(table["high"].max() - table["low"].min()) or 1.0
    middle = float(np.sqrt(table[column].min() * table[column].max()))
    placed: list[tuple[float, float]] = []
    for row in sorted(rows, key=lambda one: -one["top1"]):
        colour, x, y = shade(row["mode"]), row[column], row["top1"]
        ends = [[y - row["low"]], [row["high"] - y]]
        axis.errorbar(x, y, yerr=ends, color=colour, lw=1, alpha=0.5, zorder=2)
        face = colour if row["kind"] == "measured" else "white"
        axis.scatter(x, y, s=42, facecolor=face, edgecolor=colour, lw=1.5, zorder=3)
        at = y
        while any(abs(np.log10(x / a)) < 0.5 and abs(at - b) < 0.055 * span for a, b in placed):
            at -= 0.056 * span
        placed.append((x, at))
        late = x > middle  # the text stays inside
        axis.annotate(row["label"], (x, at), xytext=(-7 if late else 7, 0), color=colour,
                      textcoords="offset points", fontsize=7.5, va="center",
                      ha="right" if late else "left")  # fmt: skip


def _ticks(values: pd.Series, among: Sequence[float]) -> list[float]:
    """Those from below the least value to above the most."""
    low, high = float(values.min()) / 2, float(values.max()) * 2
    return [tick for tick in among if low <= tick <= high]
