"""Which of many pictures, of whose class nobody has decided, are worth a look: five questions.

After "Learnings from a Machine Learning Engineer, part 4", which asks them of what a model says of
unlabelled pictures. said: a row per picture, `predicted` and `probability`, and where they were
computed `openness` and `distance` (both in [0, 1]). library: a row per class, `class`, `photos` and
`synthetic` (counts).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class Limits:
    """Where each question draws its line; see conf/predict.yaml."""

    few: int = 40
    synthetic: float = 0.5
    medium: Sequence[float] = (0.3, 0.7)
    far: float = 0.8
    unknown: float = 0.95
    lowest: float = 0.05


def few(said: pd.DataFrame, library: pd.DataFrame, limits: Limits) -> pd.DataFrame:
    """Pictures of classes short of photos: the shortest class first, its surest picture first."""
    photos = _of_class(said, library, "photos")
    return _ordered(said.assign(photos=photos)[photos < limits.few], "photos")


def synthetic(said: pd.DataFrame, library: pd.DataFrame, limits: Limits) -> pd.DataFrame:
    """Pictures of classes that rest on synthetic ones, which they could replace."""
    pictures: Any = library["photos"] + library["synthetic"]
    made: Any = library["synthetic"] / pictures.clip(lower=1)
    share = _of_class(said, library.assign(share=made), "share")
    rests = (share >= limits.synthetic) & (share > 0)
    return _ordered(said.assign(synthetic_share=share)[rests], "synthetic_share", ascending=False)


def look_alikes(said: pd.DataFrame, library: pd.DataFrame, limits: Limits) -> pd.DataFrame:
    """Known classes at a medium probability, whose features are far from the training's.

    By class, the farthest first: a new class that looks like a known one stands together.
    """
    low, high = limits.medium
    medium: Any = said["probability"].between(low, high)
    kept: Any = said[medium & (said["distance"] >= limits.far)]
    return kept.sort_values(
        ["predicted", "distance"], ascending=[True, False], kind="stable", na_position="last"
    )


def unknown(said: pd.DataFrame, library: pd.DataFrame, limits: Limits) -> pd.DataFrame:
    """None of the known classes: the most open first."""
    kept: Any = said[said["openness"] >= limits.unknown]
    return kept.sort_values("openness", ascending=False, kind="stable")


def lowest(said: pd.DataFrame, library: pd.DataFrame, limits: Limits) -> pd.DataFrame:
    """The share of pictures with the lowest probability, for removal all at once."""
    return said.nsmallest(round(limits.lowest * len(said)), "probability", keep="first")


Filter = Callable[[pd.DataFrame, pd.DataFrame, Limits], pd.DataFrame]
FILTERS: dict[str, Filter] = {
    "few": few,
    "synthetic": synthetic,
    "look_alikes": look_alikes,
    "unknown": unknown,
    "lowest": lowest,
}
NEEDS = {"look_alikes": "distance", "unknown": "openness"}
"""Columns that are there only where the openness was measured."""
OF_LIBRARY = ("few", "synthetic")


def _of_class(said: pd.DataFrame, library: pd.DataFrame, column: str) -> Any:
    """What the library says of each picture's class; NaN where it says nothing."""
    of_class: Any = library.set_index("class")[column]
    return said["predicted"].map(of_class)


def _ordered(kept: Any, first: str, *, ascending: bool = True) -> pd.DataFrame:
    keys = [first, "predicted", "probability"]
    return kept.sort_values(keys, ascending=[ascending, True, False], kind="stable")
