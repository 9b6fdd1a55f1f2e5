"""Accuracy over epochs, one line per run."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from carsclf.figures.style import GRID, label_ends, save, shade, whole_steps


def draw_learning_curves(
    runs: dict[str, tuple[str, str, pd.DataFrame]], path: Path, *, metric: str = "val/top1"
) -> None:
    """Writes a picture of label -> (mode, role, metrics.csv); shares in [0, 1] shown in percent.

    Lines are labelled where they end, in the colour of their mode.
    """
    figure = Figure(figsize=(7.2, 3.6), layout="constrained")
    axis = figure.subplots()
    ends = []
    for label, (mode, role, table) in runs.items():
        colour, percent = shade(mode, role), 100 * table[metric].to_numpy(float)
        axis.plot(table["epoch"], percent, color=colour, linewidth=2)
        said = f"{label}, {percent[-1]:.1f} %"
        ends.append((float(table["epoch"].iloc[-1]), float(percent[-1]), said, colour))
    top = max(100 * table[metric].to_numpy(float).max() for *_, table in runs.values())
    limit = min(100.0, float(top) * 1.08 + 1)
    label_ends(axis, ends, gap=limit / 16)
    whole_steps(axis)
    axis.set(xlabel="epoch", ylim=(0, limit))
    axis.set_title(f"{metric.replace('val/top1', 'top-1 on validation')} (%)")
    axis.grid(axis="y", color=GRID)
    save(figure, path)
