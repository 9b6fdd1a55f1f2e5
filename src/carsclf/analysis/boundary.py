"""Where to freeze: what trials with each boundary reached, and what they took."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

KEY = "mode.boundary"


def in_order(boundaries: Sequence[str]) -> list[str]:
    """Each boundary once: numbers of stages from few to many, then names as they came."""
    said = dict.fromkeys(boundaries)
    numbers = sorted((b for b in said if b.isdigit()), key=int)
    return [*numbers, *(b for b in said if not b.isdigit())]


def told(trials: pd.DataFrame) -> pd.DataFrame:
    """Those of a study's trials that have a score and a boundary, with it in a column as text."""
    known = trials.dropna(subset=["best", f"values.{KEY}"])
    known = known[known["epochs"] > 0]
    said = [str(boundary).removesuffix(".0") for boundary in known[f"values.{KEY}"]]
    return pd.DataFrame(known).assign(boundary=said)


def by_boundary(trials: pd.DataFrame, horizon: int, sign: int = 1) -> pd.DataFrame:
    """A row for each boundary, little frozen first.

    trials: boundary (text), best, epochs, seconds. Columns: boundary, trials, full (trained to the
    horizon), best (the highest, or with sign -1 the lowest), mean (of full ones, NaN without),
    seconds (of a training to the horizon: the median pace times its epochs).
    """
    rows = []
    for boundary in in_order(trials["boundary"].tolist()):
        own = trials[trials["boundary"] == boundary]
        full = own[own["epochs"] >= horizon]
        rows.append(
            {
                "boundary": boundary,
                "trials": len(own),
                "full": len(full),
                "best": sign * (sign * own["best"]).max(),
                "mean": full["best"].mean() if len(full) else np.nan,
                "seconds": horizon * float(np.median(own["seconds"] / own["epochs"])),
            }
        )
    return pd.DataFrame(rows)
