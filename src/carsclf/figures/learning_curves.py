"""Accuracy over epochs, one line per run."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

MODE_COLOURS = {"finetune": "#c8553d", "freeze": "#2f6690", "partial": "#6a994e"}


def draw_learning_curves(
    runs: dict[str, tuple[str, pd.DataFrame]], path: Path, *, metric: str = "val/top1"
) -> None:
    """Writes a picture of label -> (mode, metrics.csv); shares in [0, 1] are shown in percent.

    Lines are labelled where they end, in the colour of their mode.
    """
    figure = Figure(figsize=(7.2, 4), layout="constrained")
    axes = figure.subplots()
    longest = max(len(table) for _, table in runs.values())
    for label, (mode, table) in runs.items():
        colour, percent = MODE_COLOURS[mode], 100 * table[metric]
        axes.plot(table["epoch"], percent, color=colour, linewidth=2)
        end = (table["epoch"].iloc[-1], percent.iloc[-1])
        axes.annotate(
            f"{label}, {percent.max():.1f} %",
            end,
            xytext=(6, 0),
            textcoords="offset points",
            color=colour,
            va="center",
        )
    axes.set(xlabel="epoch", xlim=(0, longest * 1.45), ylim=(0, 100))
    axes.set_title(f"{metric.replace('val/top1', 'top-1 on validation')} (%)", loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e5e5e5")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
