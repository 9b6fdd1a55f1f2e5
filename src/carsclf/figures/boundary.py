"""Where to freeze, as a picture: accuracy and cost by boundary."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from carsclf.figures.style import GRID, INK, PALE, save

WORDS = {"0": "nothing", "head": "all but\nthe head"}


def draw_boundaries(
    trials: pd.DataFrame,
    table: pd.DataFrame,
    metric: str,
    horizon: int,
    path: Path,
    *,
    colour: str = INK,
    cost: str = "seconds of a training",
) -> None:
    """Every trial as a point, the best of each boundary as a line; below, what a training takes.

    trials and table: as analysis.boundary.by_boundary takes and gives them. Trials of fewer epochs
    than the horizon are hollow.
    """
    places = {boundary: place for place, boundary in enumerate(table["boundary"])}
    figure = Figure(figsize=(max(4.5, 0.85 * len(places) + 2), 5.2), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    at = pd.Series([places[boundary] for boundary in trials["boundary"]], index=trials.index)
    full = trials["epochs"] >= horizon
    for axis, values, line in (
        (above, trials["best"], table["best"]),
        (below, horizon * trials["seconds"] / trials["epochs"], table["seconds"]),
    ):
        axis.scatter(at[~full], values[~full], s=16, facecolor="none", edgecolor=PALE, lw=0.8)
        axis.scatter(at[full], values[full], s=18, color=colour, alpha=0.7, lw=0)
        axis.plot(range(len(places)), line, color=colour, lw=1.6)
        axis.grid(axis="y", color=GRID)
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_axisbelow(True)
    above.set_ylabel(metric)
    below.set_ylabel(cost)
    below.set_ylim(bottom=0)
    below.set_xticks(range(len(places)), [WORDS.get(boundary, boundary) for boundary in places])
    below.set_xlabel("frozen: stages, or up to a module")
    save(figure, path)
