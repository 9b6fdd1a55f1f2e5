"""Pictures of a search: tables in, a picture file out."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from carsclf.figures.style import save, whole_steps

COLOURS = {
    "blank": "#c9c9c9",
    "random": "#7a7a7a",
    "asha": "#3b6fb6",
    "bohb": "#d1661d",
    "multitask": "#2f8f5b",
    "freeze_thaw": "#a8325a",
}


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
    save(figure, path)


def _plain(axis: Axes) -> None:
    """No box, a light grid."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(color="#dddddd", lw=0.6)
    axis.tick_params(labelsize=8)
    axis.set_axisbelow(True)


def draw_progress(curves: pd.DataFrame, metric: str, sign: int, path: Path) -> None:
    """Every epoch's value and the best so far, over the budget spent by then."""
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axis = figure.subplots()
    best = sign * (sign * curves[metric]).cummax()
    axis.scatter(curves["spent"], curves[metric], s=6, color="#9db4d4", lw=0, label="an epoch")
    axis.step(curves["spent"], best, where="post", color=COLOURS["asha"], label="best so far")
    axis.set(xlabel="budget spent (full trainings)", ylabel=metric, xlim=(0, None))
    axis.legend(edgecolor="none", framealpha=0.9, markerscale=2, loc="lower right")
    _plain(axis)
    save(figure, path)


def draw_curves(curves: pd.DataFrame, metric: str, best: int, path: Path) -> None:
    """One learning curve per trial; the winner's stands out."""
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axis = figure.subplots()
    for trial, part in curves.sort_values("epoch").groupby("trial"):
        if trial != best:
            axis.plot(part["epoch"], part[metric], "-o", color="#9db4d4", ms=2, lw=0.8, alpha=0.7)
    part = curves.query("trial == @best").sort_values("epoch")
    axis.plot(part["epoch"], part[metric], "-o", color="#d1661d", ms=3, lw=2, label=f"trial {best}")
    axis.set(xlabel="epoch", ylabel=metric)
    whole_steps(axis)
    axis.legend(frameon=False, loc="best")
    _plain(axis)
    save(figure, path)


def draw_fidelities(
    trials: pd.DataFrame,
    key: str,
    log: bool,
    metric: str,
    path: Path,
    *,
    colour: str = COLOURS["multitask"],
) -> None:
    """Where trials that got that many epochs sampled one hyperparameter, one panel each.

    Columns: epochs, best and value (the hyperparameter's).
    """
    steps = _steps(pd.Series(trials["epochs"]))
    figure = Figure(figsize=(2.6 * len(steps) + 0.6, 2.8), layout="constrained")
    axes = figure.subplots(1, len(steps), squeeze=False, sharex=True, sharey=True)[0]
    for axis, (low, high) in zip(axes, steps, strict=True):
        part = trials[trials["epochs"].between(low, high)]
        axis.scatter(part["value"], part["best"], s=14, color=colour, alpha=0.8, lw=0)
        span = f"{low}" if low == high else f"{low} to {high}"
        axis.set_title(
            f"{span} epoch{'s' * (span != '1')} ({len(part)} trial{'s' * (len(part) != 1)})",
            fontsize=9,
        )
        axis.set_xscale("log" if log else "linear")
        _plain(axis)
    axes[0].set_ylabel(metric)
    figure.supxlabel(key, fontsize=9)
    save(figure, path)


def draw_parallel(
    trials: pd.DataFrame, units: NDArray[np.float64], keys: list[str], metric: str, path: Path
) -> None:
    """One line per trial through its place (0 to 1) on each hyperparameter's axis.

    Column: best, in the same order as the rows of units.
    """
    figure = Figure(figsize=(1.3 * len(keys) + 2, 3.6), layout="constrained")
    axis = figure.subplots()
    values = trials["best"].to_numpy(dtype=float)
    scale = Normalize(values.min(), max(values.max(), values.min() + 1e-9))
    places = np.arange(len(keys))
    for row in np.argsort(values):
        colour = colormaps["viridis"](scale(values[row]))
        axis.plot(places, units[row], color=colour, lw=1.1, alpha=0.75)
    names = [key.replace(".", ".\n", 1) for key in keys]
    axis.set(xticks=places, xticklabels=names, ylim=(-0.02, 1.02), xlim=(0, max(1, len(keys) - 1)))
    axis.set_yticks([0, 1], ["low", "high"])
    figure.colorbar(ScalarMappable(scale, "viridis"), ax=axis, label=metric)
    axis.grid(axis="x", color="#bbbbbb", lw=0.8)
    axis.spines[:].set_visible(False)
    axis.tick_params(labelsize=8)
    save(figure, path)


def draw_importance(
    importance: pd.DataFrame, count: int, path: Path, *, colour: str = COLOURS["asha"]
) -> None:
    """How much worse a model of the metric gets without each hyperparameter.

    Columns: key, mean, deviation.
    """
    ordered = importance.sort_values("mean")
    figure = Figure(figsize=(5.4, 0.35 * len(ordered) + 1.1), layout="constrained")
    axis = figure.subplots()
    axis.barh(
        ordered["key"],
        ordered["mean"],
        xerr=ordered["deviation"],
        color=colour,
        height=0.6,
    )
    axis.set_xlabel(f"loss of R² when shuffled (random forest on {count} trials)", fontsize=9)
    _plain(axis)
    save(figure, path)


def draw_final(scores: pd.DataFrame, metric: str, path: Path, *, colour: str) -> None:
    """Trainings of a final: a row per configuration, first on top, a line per seed through them.

    Columns: label, seed, score.
    """
    labels = list(dict.fromkeys(scores["label"]))
    figure = Figure(figsize=(7.2, 0.5 * len(labels) + 1.0), layout="constrained")
    axis = figure.subplots()
    places = np.array([-labels.index(label) for label in scores["label"]])
    values = scores["score"].to_numpy(dtype=float)
    for seed in dict.fromkeys(scores["seed"]):
        own = np.flatnonzero((scores["seed"] == seed).to_numpy())
        own = own[np.argsort(places[own])]
        axis.plot(values[own], places[own], "-o", color=colour, ms=4, lw=0.8, alpha=0.6)
    means = [values[places == -n].mean() for n in range(len(labels))]
    axis.scatter(means, -np.arange(len(labels)), marker="|", s=260, color=colour, linewidths=2.5)
    axis.set_yticks([-n for n in range(len(labels))], labels)
    axis.set(ylim=(-len(labels) + 0.5, 0.5), xlabel=metric)
    axis.margins(x=0.08)
    _plain(axis)
    save(figure, path)


def _steps(epochs: pd.Series) -> list[tuple[int, int]]:
    """At most four spans of epochs, with about the same number of trials in each."""
    values = sorted(set(epochs.astype(int)))
    if len(values) <= 4:
        return [(value, value) for value in values]
    edges = np.unique(np.quantile(epochs, [0, 0.25, 0.5, 0.75, 1], method="nearest")).astype(int)
    lows = [int(edges[0]), *(int(edge) + 1 for edge in edges[1:-1])]
    spans = zip(lows, (int(edge) for edge in edges[1:]), strict=True)
    return [(low, high) for low, high in spans if epochs.between(low, high).any()]
