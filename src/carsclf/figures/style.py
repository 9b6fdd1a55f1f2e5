"""One look for all figures: colours by mode, strong for what a search found, pale for before."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from carsclf.files import AnyPath

MODE_COLOURS = {
    "finetune": "#c8553d",
    "freeze": "#2f6690",
    "partial": "#6a994e",
    "adapt": "#7d5ba6",
}
INK, PALE, GRID = "#333333", "#8a8f98", "#e5e5e5"
GOOD, BAD = "#6a994e", "#b23a48"
LOOK: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#bbbbbb",
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.labelcolor": INK,
    "axes.axisbelow": True,
    "text.color": INK,
    "xtick.color": "#666666",
    "ytick.color": INK,
}
SAME: dict[Any, Any] = {"svg.hashsalt": "carsclf"}


@contextmanager
def look() -> Iterator[None]:
    """Figures drawn inside share fonts, lines and colours."""
    with rc_context(LOOK):
        yield


def shade(mode: str, role: str = "") -> str:
    """The colour of a mode; paler for a baseline."""
    colour = MODE_COLOURS.get(mode, INK)
    if role != "baseline":
        return colour
    red, green, blue = (0.5 * part + 0.5 for part in to_rgb(colour))
    return to_hex((red, green, blue))


def spread(places: Sequence[float], gap: float) -> list[float]:
    """Places of labels, in the given order, moved as little as keeps them `gap` apart."""
    order = np.argsort(places, kind="stable")
    moved = np.asarray(places, float)[order]
    for _ in range(200):
        steps = np.diff(moved)
        close = steps < gap - 1e-9
        if not close.any():
            break
        push = np.where(close, (gap - steps) / 2, 0)
        moved[:-1] -= push
        moved[1:] += push
    result = np.empty_like(moved)
    result[order] = moved
    return result.tolist()


def label_ends(axis: Axes, ends: Sequence[tuple[float, float, str, str]], gap: float) -> None:
    """Writes (x, y, text, colour) at the right of the lines' ends, `gap` apart at least.

    On a logarithmic axis the gap is one of decimal logarithms.
    """
    if not ends:
        return
    log = axis.get_yscale() == "log"
    places = [float(np.log10(y)) if log else y for _, y, *_ in ends]
    right = max(x for x, *_ in ends)
    for (*_, text, colour), place in zip(ends, spread(places, gap), strict=True):
        axis.annotate(
            text,
            (right, 10**place if log else place),
            xytext=(6, 0),
            textcoords="offset points",
            color=colour,
            va="center",
            annotation_clip=False,
        )


def save(figure: Figure, path: AnyPath) -> None:
    """Writes the figure; SVG without a date, so that equal figures are equal files."""
    path = Path(path).expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"Date": None} if path.suffix == ".svg" else None
    with rc_context(SAME):  # names inside the file hang on this, not on chance
        figure.savefig(path, dpi=150, metadata=metadata)


def whole_steps(axis: Axes) -> None:
    """Ticks below the axis at whole numbers only: there is no epoch 2.5, and no half photo."""
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
