"""A deployed model over time: how much it was asked, how right it was, how its answers moved."""

# a table's column, row and part are one type to pyright
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportGeneralTypeIssues=false, reportReturnType=false, reportCallIssue=false

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from carsclf.figures.style import BAD, GRID, INK, MODE_COLOURS, PALE, save

COLOURS = [*MODE_COLOURS.values(), PALE]
DAYS = {"day": 1, "week": 7, "month": 30}


def draw_use(table: pd.DataFrame, kind: str, path: Path) -> None:
    """Stacked bars of predictions. Columns: period (a date's text), then one per version."""
    figure, axis = _axis()
    x, below = _days(table["period"]), np.zeros(len(table))
    for i, version in enumerate(table.columns[1:]):
        height = table[version].to_numpy(float)
        axis.bar(x, height, 0.85 * DAYS[kind], below, align="edge", label=literal(version),
                 color=COLOURS[i % len(COLOURS)])  # fmt: skip
        below += height
    axis.set_title(f"predictions per {kind}")
    _legend(axis, len(table.columns) - 1)
    save(figure, path)


def draw_accuracy_over_time(table: pd.DataFrame, path: Path) -> None:
    """Percent with 95 % intervals and, above, the number evaluated.

    Columns: period, version, evaluated, accuracy, low, high (shares in [0, 1]).
    """
    figure, axis = _axis()
    versions = list(dict.fromkeys(table["version"]))
    step = _step(table["period"])
    for i, version in enumerate(versions):
        rows = table[table["version"] == version]
        colour, value = COLOURS[i % len(COLOURS)], 100 * rows["accuracy"].to_numpy(float)
        x = _days(rows["period"]) + step * (0.5 + 0.15 * (i - (len(versions) - 1) / 2))
        ends = np.abs(100 * rows[["low", "high"]].to_numpy(float).T - value)
        axis.errorbar(x, value, ends, fmt="o", ms=5, color=colour, lw=1.4, label=literal(version))
        if len(table) <= 16:
            for place, high, n in zip(x, rows["high"], rows["evaluated"], strict=True):
                axis.annotate(f"{n:,}", (place, 100 * high), xytext=(0, 4), fontsize=7,
                              textcoords="offset points", ha="center", color=colour)  # fmt: skip
    axis.set_ylim(top=min(108, axis.get_ylim()[1] + 3))
    axis.set_title("right of those evaluated (%)" + (", and their number" * (len(table) <= 16)))
    _legend(axis, len(versions))
    save(figure, path)


def draw_drift(table: pd.DataFrame, rules: tuple[float, float], path: Path) -> None:
    """Stability indices over time, and the two values of the rule of thumb.

    Columns: period, what, psi, shift ("none" where it is not one).
    """
    figure, axis = _axis()
    step = _step(table["period"])
    for i, (what, rows) in enumerate(table.groupby("what", sort=False)):
        x, y = _days(rows["period"]) + step / 2, rows["psi"].to_numpy(float)
        axis.plot(x, y, "o-", ms=4, lw=1.4, color=COLOURS[i % len(COLOURS)], label=str(what))
        told = (rows["shift"] != "none").to_numpy()
        axis.scatter(x[told], y[told], s=90, facecolor="none", edgecolor=BAD, lw=1.4, zorder=4)
    for value, word in zip(rules, ("moderate", "large"), strict=True):
        axis.axhline(value, color=PALE, lw=1, ls=":")
        axis.annotate(word, (1, value), xycoords=("axes fraction", "data"), fontsize=7.5,
                      color=PALE, ha="right", va="bottom")  # fmt: skip
    axis.set_ylim(bottom=0)
    axis.set_title("population stability index; ringed: a shift")
    _legend(axis, table["what"].nunique())
    save(figure, path)


def draw_openness(table: pd.DataFrame, expected: float, path: Path) -> None:
    """Percent beyond the threshold. Columns: period, beyond, low, high (shares in [0, 1])."""
    figure, axis = _axis()
    x = _days(table["period"]) + _step(table["period"]) / 2
    value = 100 * table["beyond"].to_numpy(float)
    ends = np.abs(100 * table[["low", "high"]].to_numpy(float).T - value)
    axis.errorbar(x, value, ends, fmt="o", ms=5, color=INK, lw=1.4)
    axis.axhline(100 * expected, color=PALE, lw=1, ls=":")
    axis.set_ylim(bottom=0)
    axis.set_title("unlike all it was trained on (%); dotted: photos like validation's")
    save(figure, path)


def _axis() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(7.2, 3.0), layout="constrained")
    axis = figure.subplots()
    locator = AutoDateLocator(minticks=3, maxticks=9)
    axis.xaxis.set_major_locator(locator)
    axis.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axis.grid(axis="y", color=GRID)
    return figure, axis


def _days(periods: pd.Series) -> np.ndarray:
    """Matplotlib's numbers of dates: days since 1970."""
    return np.array([(date.fromisoformat(p) - date(1970, 1, 1)).days for p in periods], float)


def _step(periods: pd.Series) -> float:
    days = np.unique(_days(periods))
    return float(np.diff(days).min()) if len(days) > 1 else 1.0


def literal(name: object) -> str:
    """A name as it stands: matplotlib reads formulas between dollars, and hides `_...`."""
    text = str(name).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def _legend(axis: Axes, entries: int) -> None:
    if 1 < entries <= 8:
        axis.legend(frameon=False, fontsize=8, ncols=2, loc="lower left", bbox_to_anchor=(0, 1.08))
