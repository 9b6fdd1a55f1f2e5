"""What the Gaussian processes of several searches share: targets, refits, improvement."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

Array = NDArray[np.float64]


def normal_scores(scores: Sequence[float]) -> Array:
    """Normal quantiles of the ranks: crashed and diverged trainings are no outliers then."""
    ranks = rankdata(scores)
    return norm.ppf((ranks - 0.5) / len(ranks))


def expected_improvement(gain: Array, deviation: Array) -> Array:
    """Of a normal variable over a level: ``gain`` is its mean minus that level."""
    z = gain / deviation
    return deviation * (z * norm.cdf(z) + norm.pdf(z))


def refit_point(count: int, first: int) -> int:
    """The largest point of the refit schedule that is at most ``count``; it begins at ``first``.

    Each point is 30 % beyond the one before, and at least ``first``.
    """
    point = first
    while (following := max(point + first, math.ceil(point * 1.3))) <= count:
        point = following
    return point
