"""Accuracies with their intervals, and how a search found them."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from carsclf.figures.style import GRID, INK, PALE, label_ends, save, shade


def draw_accuracies(table: pd.DataFrame, path: Path) -> None:
    """One row per configuration, best on top: a dot, its interval, every seed, the figure itself.

    Columns: label, mode, role, accuracy, low, high (shares in [0, 1]), seeds (a list of shares),
    published (a share or NaN).
    """
    table = table.sort_values("accuracy", ignore_index=True)
    known = 100 * table[["low", "high", "accuracy", "published"]].to_numpy(float)
    width = np.nanmax(known) - np.nanmin(known)
    figure = Figure(figsize=(7.2, 0.46 * len(table) + 0.9), layout="constrained")
    axis = figure.subplots()
    for y, row in enumerate(table.to_dict("records")):
        colour = shade(row["mode"], row["role"])
        axis.plot([100 * row["low"], 100 * row["high"]], [y, y], color=colour, lw=5, alpha=0.35,
                  solid_capstyle="butt")  # fmt: skip
        seeds = 100 * np.asarray(row["seeds"], float)
        axis.scatter(seeds, np.full(len(seeds), y), s=16, color=colour, alpha=0.6, lw=0)
        axis.scatter(100 * row["accuracy"], y, s=44, color=colour, zorder=3)
        right = 100 * np.nanmax([row["high"], *row["seeds"]])
        if 0 <= 100 * row["published"] - right < width / 8:  # the figure stands behind both
            right = 100 * row["published"]
        axis.annotate(f"{100 * row['accuracy']:.1f} %", (right, y), xytext=(7, 0),
                      textcoords="offset points", va="center", color=INK)  # fmt: skip
        if not np.isnan(row["published"]):
            axis.scatter(100 * row["published"], y, s=34, marker="D", facecolor="white",
                         edgecolor=INK, lw=1, zorder=4)  # fmt: skip
    axis.set_yticks(range(len(table)), table["label"])
    axis.set(ylim=(-0.6, len(table) - 0.4), xlabel="top-1 accuracy (%)")
    axis.margins(x=0.12)
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    axis.grid(axis="x", color=GRID)
    save(figure, path)


def draw_spending(studies: dict[str, tuple[str, pd.DataFrame, float | None]], path: Path) -> None:
    """Best so far over the budget spent, a line per study; dots, each trial's best where it ended;
    dashed, what the best that was known without the search reaches.

    label -> (mode, table with columns trial, spent (full trainings) and value (a share), the known
    one's share or None)
    """
    figure = Figure(figsize=(7.2, 3.4), layout="constrained")
    axis = figure.subplots()
    ends, values = [], []
    for label, (mode, table, known) in studies.items():
        colour = shade(mode)
        best = 100 * table["value"].cummax()
        trials = table.groupby("trial").agg(spent=("spent", "max"), value=("value", "max"))
        axis.scatter(trials["spent"], 100 * trials["value"], s=14, color=colour, alpha=0.5, lw=0)
        axis.step(table["spent"], best, where="post", color=colour, lw=2)
        ends.append((float(table["spent"].iloc[-1]), float(best.iloc[-1]),
                     f"{label}, {best.iloc[-1]:.1f} %", colour))  # fmt: skip
        values += [*best, *(100 * trials["value"])]
        if known is not None:
            pale = shade(mode, "baseline")
            axis.plot(
                [0.0, float(table["spent"].to_numpy().max())],
                [100 * known, 100 * known],
                "--",
                color=pale,
                lw=1.2,
            )
            said = f"known without it {100 * known:.1f} %"
            ends.append((float(table["spent"].iloc[-1]), 100 * known, said, pale))
            values.append(100 * known)
    low, high = min(values), max(values)
    margin = 0.05 * (high - low) + 0.5
    label_ends(axis, ends, gap=(high - low + 2 * margin) / 14)
    axis.set(xlim=(0, None), ylim=(max(0, low - margin), min(100, high + margin)))
    axis.set(xlabel="budget spent (full trainings)")
    axis.set_title("top-1 on validation (%)")
    axis.grid(axis="y", color=GRID)
    save(figure, path)


def draw_calibration(curves: dict[str, tuple[str, str, pd.DataFrame]], path: Path) -> None:
    """Accuracy over confidence, a panel each; on the diagonal a model is as right as it is sure.

    label -> (mode, role, table of analysis.calibration.reliability)
    """
    figure = Figure(figsize=(7.6, 2.6), layout="constrained")
    axes = figure.subplots(1, max(3, len(curves)), sharex=True, sharey=True)
    for axis, (label, (mode, role, table)) in zip(axes, curves.items(), strict=False):
        colour = shade(mode, role)
        axis.plot([0, 1], [0, 1], color=PALE, lw=1, ls=":")
        axis.vlines(table["confidence"], table["confidence"], table["accuracy"], color=colour,
                    lw=1, alpha=0.5)  # fmt: skip
        sizes = 6 + 150 * table["images"] / table["images"].sum()
        axis.scatter(table["confidence"], table["accuracy"], s=sizes, color=colour, lw=0, zorder=3)
        axis.set(xlim=(0, 1.03), ylim=(0, 1.03), aspect="equal")
        axis.set_title(label.replace(", ", ",\n", 1), fontsize=8.5)
        axis.set_xticks([0, 0.5, 1])
        axis.set_yticks([0, 0.5, 1])
        axis.grid(color=GRID)
    for axis in axes[len(curves) :]:
        axis.axis("off")
    axes[0].set(ylabel="accuracy")
    figure.supxlabel("confidence: the probability of the predicted class", fontsize=9)
    save(figure, path)


def draw_refusal(curves: dict[str, tuple[str, str, pd.DataFrame]], path: Path) -> None:
    """Accuracy on the rest when the least confident share is refused.

    label -> (mode, role, table of analysis.calibration.refusal)
    """
    figure = Figure(figsize=(7.2, 3.4), layout="constrained")
    axis = figure.subplots()
    starts, lows = [], []
    for label, (mode, role, table) in curves.items():
        shown = table.query("refused <= 0.9")
        colour, percent = shade(mode, role), 100 * shown["accuracy"].to_numpy(float)
        axis.plot(100 * shown["refused"], percent, color=colour, lw=2)
        starts.append((90.0, float(percent[-1]), label, colour))
        lows.append(percent.min())
    low = max(0.0, min(lows) - 4)
    label_ends(axis, starts, gap=(100 - low) / 16)
    axis.set(xlim=(0, 90), ylim=(low, 101), xlabel="least confident share refused (%)")
    axis.set_title("top-1 on the rest (%)")
    axis.grid(axis="y", color=GRID)
    save(figure, path)
