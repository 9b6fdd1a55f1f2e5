"""Is what comes later like what came first? Distributions of a number, and of classes."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2, chi2_contingency, false_discovery_control, ks_2samp

from carsclf.errors import DataError

MODERATE, LARGE = 0.1, 0.25
"""Of the PSI: below both hardly any shift, above both a large one (Siddiqi, Credit Risk Scorecards,
2006)."""
FEW = 5  # expected in a cell: fewer are told together


@dataclass(frozen=True)
class Shift:
    """How far two distributions lie apart, and how far chance alone puts equal ones."""

    psi: float
    chance: float
    """The PSI that equal distributions exceed in 5 % of samples of these sizes."""
    distance: float
    """Kolmogorov and Smirnov's for a number; half the sum of the shares' differences for classes.

    Both in [0, 1]."""
    p: float


def psi(first: np.ndarray, later: np.ndarray) -> float:
    """Population stability index of two rows of counts (k,): sum of (q - p) ln(q / p), at least 0.

    p and q are shares, each count being raised by a half so that an empty cell has a logarithm.
    Symmetric: Jeffreys' divergence of the two.
    """
    if first.shape != later.shape or not first.sum() or not later.sum():
        raise DataError("a stability index needs two rows of counts of the same cells, none empty")
    p, q = ((row + 0.5) / (row.sum() + 0.5 * len(row)) for row in (first, later))
    return float(((q - p) * np.log(q / p)).sum())


def psi_by_chance(n: int, m: int, cells: int, share: float = 0.05) -> float:
    """What the PSI of samples n and m of one distribution exceeds in this share of draws.

    PSI / (1/n + 1/m) is about chi-squared with cells - 1 degrees of freedom: Yurdakul and Naranjo,
    Journal of Risk Model Validation 14 (2020). 0 for a single cell.
    """
    return (1 / n + 1 / m) * float(chi2.isf(share, cells - 1)) if cells > 1 else 0.0


def shift_of_numbers(first: np.ndarray, later: np.ndarray, cells: int = 10) -> Shift:
    """Of two samples (n,), (m,): the PSI over the first one's quantiles, and Kolmogorov-Smirnov.

    The test is two-sided and asymptotic.
    """
    edges = np.unique(np.quantile(first, np.linspace(0, 1, cells + 1)[1:-1]))
    counts = [
        np.bincount(np.searchsorted(edges, v, "left"), minlength=len(edges) + 1)
        for v in (first, later)
    ]
    kept = counts[0] + counts[1] > 0
    one, two = counts[0][kept], counts[1][kept]
    test = ks_2samp(first, later, method="asymp")
    chance = psi_by_chance(len(first), len(later), len(one))
    return Shift(psi(one, two), chance, float(test.statistic), float(test.pvalue))  # type: ignore[attr-defined]


def shift_of_classes(first: np.ndarray, later: np.ndarray) -> Shift:
    """Of counts (k,) per class: the PSI, and Pearson's chi-squared test that shares are equal.

    Classes of which fewer than FEW are expected in either are one cell together: with many classes
    and few pictures chance alone would make a large index.
    """
    one, two = _told_together(first, later)
    n, m = int(one.sum()), int(two.sum())
    p = 1.0 if len(one) < 2 else float(chi2_contingency([one, two], correction=False).pvalue)  # type: ignore[attr-defined]
    distance = float(np.abs(one / n - two / m).sum() / 2)
    return Shift(psi(one, two), psi_by_chance(n, m, len(one)), distance, p)


def _told_together(first: np.ndarray, later: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    both = first + later
    expected = both * (min(first.sum(), later.sum()) / both.sum())
    few = (expected < FEW) & (both > 0)
    some = ~few & (both > 0)
    one, two = ([*row[some], row[few].sum()] for row in (first, later))
    kept = np.asarray(one) + np.asarray(two) > 0
    return np.asarray(one)[kept], np.asarray(two)[kept]


def adjusted(p: np.ndarray) -> np.ndarray:
    """(n,) p values of many tests: of those below 0.05 then, about 1 in 20 is expected to be false.

    Benjamini and Hochberg, Journal of the Royal Statistical Society B 57 (1995).
    """
    return np.asarray(false_discovery_control(p)) if len(p) else p


def verdict(shift: Shift, p: float) -> str:
    """In a word: a shift is told where it is more than chance and large enough to matter.

    p: the adjusted one. An index below MODERATE is small whatever the test says: with many pictures
    a test finds differences that do not matter.
    """
    if p >= 0.05 or shift.psi <= shift.chance or shift.psi < MODERATE:
        return "none"
    return "large" if shift.psi >= LARGE else "moderate"
