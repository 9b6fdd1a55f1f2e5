"""What errors are made of, and where they are."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from carsclf.figures.style import BAD, GOOD, GRID, INK, PALE, save, shade, whole_steps

FATE_COLOURS = {"vanish": GOOD, "stay": "#b9bec6", "appear": BAD}
KIND_COLOURS = ("#1d3557", "#457b9d", "#8fb8ca", "#dfc27d")


def draw_fates(table: pd.DataFrame, path: Path) -> None:
    """One bar per pair of models: errors that vanish, stay and appear from the first to the second.

    Columns: label, vanish, stay, appear (counts).
    """
    _draw_shares(table, FATE_COLOURS, path, "pictures that at least one of the two gets wrong")


def draw_kinds(table: pd.DataFrame, path: Path) -> None:
    """One bar per configuration: its errors by how far off they are.

    Columns: label, then one per kind (counts), nearest first.
    """
    kinds = [str(c) for c in table.columns if c != "label"]
    colours = dict(zip(kinds, KIND_COLOURS, strict=True))
    _draw_shares(table, colours, path, "errors", percent=True)


def _draw_shares(
    table: pd.DataFrame, colours: Mapping[str, str], path: Path, what: str, *, percent: bool = False
) -> None:
    figure = Figure(figsize=(7.2, 0.62 * len(table) + 1.15), layout="constrained")
    axis = figure.subplots()
    parts = list(colours)
    total = table[parts].sum(axis=1).to_numpy(float)
    widths = table[parts].to_numpy(float)
    if percent:
        widths = 100 * widths / np.maximum(total, 1)[:, None]
    lefts = np.cumsum(widths, axis=1) - widths
    places = np.arange(len(table))[::-1]
    longest = max(float(widths.sum(axis=1).max()), 1e-9)
    for i, part in enumerate(parts):
        axis.barh(places, widths[:, i], left=lefts[:, i], height=0.5, color=colours[part], lw=0)
        for y, width, left in zip(places, widths[:, i], lefts[:, i], strict=True):
            if width > 0.045 * longest:
                dark = sum(int(colours[part][k : k + 2], 16) for k in (1, 3, 5)) < 400
                said = f"{width:.0f} %" if percent else f"{width:.0f}"
                axis.text(left + width / 2, y, said, ha="center", va="center",
                          color="white" if dark else INK)  # fmt: skip
    for y, label in zip(places, table["label"], strict=True):
        axis.text(0, y + 0.3, label, va="bottom", color=INK)
    axis.set_yticks([])
    axis.spines["left"].set_visible(False)
    axis.set(xlabel=f"{what}{' (%)' if percent else ''}", xlim=(0, longest))
    axis.set_ylim(-0.4, len(table) - 0.25)
    if not percent:
        whole_steps(axis)
    handles = [axis.barh(0, 0, color=colour)[0] for colour in colours.values()]
    figure.legend(handles, parts, loc="outside upper left", ncols=len(parts), frameon=False,
                  handlelength=1, handleheight=1, columnspacing=1.4)  # fmt: skip
    save(figure, path)


def draw_rates(table: pd.DataFrame, overall: float, mode: str, path: Path) -> None:
    """Error rate in each group of each cause, with intervals; dotted, that of all pictures.

    Columns: cause, group, images, rate, low, high (shares in [0, 1]).
    """
    causes = list(dict.fromkeys(table["cause"]))
    columns = min(3, len(causes))
    rows = -(-len(causes) // columns)
    figure = Figure(figsize=(7.6, 1.75 * rows + 0.5), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True)
    colour = shade(mode)
    for axis, cause in zip(axes.flat, causes, strict=False):
        part = table[table["cause"] == cause][::-1]
        places = np.arange(len(part))
        axis.axvline(100 * overall, color=PALE, lw=1, ls=":")
        axis.hlines(places, 100 * part["low"], 100 * part["high"], color=colour, lw=4, alpha=0.35)
        axis.scatter(100 * part["rate"], places, s=26, color=colour, zorder=3)
        axis.set_yticks(places, part["group"])
        axis.set(ylim=(-0.6, len(part) - 0.4), title=cause)
        axis.tick_params(axis="y", length=0, labelsize=8)
        axis.spines["left"].set_visible(False)
        axis.grid(axis="x", color=GRID)
    for axis in list(axes.flat)[len(causes) :]:
        axis.axis("off")
    figure.supxlabel("error rate (%)", fontsize=9)
    save(figure, path)
