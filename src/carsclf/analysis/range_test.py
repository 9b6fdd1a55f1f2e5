"""What a range test suggests for the learning rate, by the three rules of fastai's lr_find."""

import numpy as np
import pandas as pd

from carsclf.errors import CarsclfError

RULES = ("valley", "steepest", "minimum")
SMOOTHING = 0.98  # the weight of what was before in the smoothed loss, as fastai's
LATEST = 5  # rates at the end that are left out: the loss explodes there
FEWEST = 5  # rates that a suggestion is made of
OF_TWO = 0.954  # the median difference of two normal variables, in deviations of one


class Smoothed:
    """The exponentially weighted mean of all losses told so far; the weights sum to 1."""

    def __init__(self) -> None:
        self._total, self._count = 0.0, 0

    def __call__(self, loss: float) -> float:
        self._total = SMOOTHING * self._total + (1 - SMOOTHING) * loss
        self._count += 1
        return self._total / (1 - SMOOTHING**self._count)


def judged(table: pd.DataFrame, steps: int) -> pd.DataFrame:
    """The rows that rules look at: without the first tenth of `steps` and the LATEST few."""
    return table.iloc[steps // 10 : -LATEST]


def suggestions(table: pd.DataFrame, steps: int) -> dict[str, float]:
    """A rate by each rule, to three digits; none where what rules find is chance.

    That is where the smoothed loss falls by less than one batch's loss differs from the next's.
    table: `lr`, `loss` and `smoothed` of the rates tried, rising; steps: how many there were to be.
    Raises CarsclfError where too few were tried, or the loss fell at none.
    """
    table = judged(table, steps)
    rates, losses = table["lr"].to_numpy(float), table["smoothed"].to_numpy(float)
    if len(rates) < FEWEST:
        raise CarsclfError(
            "lr_finder: the loss exploded before there was anything to see: lower lr_finder.from "
            "(and lr_finder.to), or raise lr_finder.steps"
        )
    if not (np.diff(losses) < 0).any():
        raise CarsclfError(
            "lr_finder: the loss fell at none of the rates: lower lr_finder.from, or raise "
            "lr_finder.to where it did not rise either"
        )
    if _hardly_falls(table):
        return {}
    found = {
        "valley": rates[_two_thirds_down(losses)],
        "steepest": rates[np.argmin(np.diff(losses) / np.diff(np.log(rates)))],
        "minimum": rates[np.argmin(losses)] / 10,
    }
    return {rule: float(f"{found[rule]:.3g}") for rule in RULES}


def _hardly_falls(table: pd.DataFrame) -> bool:
    """Whether the smoothed loss falls by less than one batch's loss differs from the next's."""
    smoothed = table["smoothed"].to_numpy(float)
    fall = (np.maximum.accumulate(smoothed) - smoothed).max()
    # the median, as losses explode at the highest rates
    differences = np.abs(np.diff(table["loss"].to_numpy(float)))
    return bool(fall < np.median(differences) / OF_TWO)


def _two_thirds_down(losses: np.ndarray) -> int:
    """Where two thirds of the longest valley lie behind.

    A valley is the longest sequence of places, gaps allowed, at which losses fall; it is taken to
    lie in the places just before its end, as fastai does.
    """
    lengths = np.ones(len(losses), dtype=int)
    for i in range(1, len(losses)):
        lengths[i] += lengths[:i][losses[:i] > losses[i]].max(initial=0)
    end = int(lengths.argmax())
    third = lengths[end] / 3
    return max(0, end - lengths[end] + int(third) + int(third / 2))
