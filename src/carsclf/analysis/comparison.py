"""Two models on the same pictures: arrays of hits (True where a picture was got right) in."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import binom, norm

from carsclf.errors import DataError

FATES = ("both right", "vanish", "appear", "stay")
"""Of each picture, from a first to a second model; the last three are the errors' fates."""


@dataclass(frozen=True)
class Interval:
    """A figure with the ends of its confidence interval."""

    value: float
    low: float
    high: float


def wilson(hits: float, n: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval of a share, in [0, 1]: stays inside at 0 and 1, unlike p ± z·se.

    centre = (p + z²/2n) / (1 + z²/n), half = z·sqrt(p(1-p)/n + z²/4n²) / (1 + z²/n), with
    p = hits / n (hits may be a mean over seeds). Wilson, JASA 22 (1927).
    """
    if not 0 <= hits <= n or n < 1:
        raise DataError(f"an accuracy of {hits} hits in {n} pictures: expected 0 <= hits <= n")
    z, p = float(norm.ppf((1 + confidence) / 2)), hits / n
    scale = 1 + z**2 / n
    centre = (p + z**2 / (2 * n)) / scale
    half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / scale
    low, high = float(centre - half), float(centre + half)
    return Interval(p, max(0.0, min(p, low)), min(1.0, max(p, high)))


def newcombe(first: int, n: int, second: int, m: int, confidence: float = 0.95) -> Interval:
    """Second share minus first, in [-1, 1], where they are of different pictures (hits of n, m).

    Hybrid of both Wilson intervals: low = d - sqrt((q - lq)² + (up - p)²), high likewise.
    Newcombe, Statistics in Medicine 17 (1998), method 10.
    """
    p, q = wilson(first, n, confidence), wilson(second, m, confidence)
    d = q.value - p.value
    low = d - float(np.hypot(q.value - q.low, p.high - p.value))
    high = d + float(np.hypot(q.high - q.value, p.value - p.low))
    return Interval(d, low, high)


def mcnemar(first: np.ndarray, second: np.ndarray) -> float:
    """Mid-p McNemar test that two models are equally often right; two-sided p in (0, 1].

    Only pictures on which they differ count: b of n = b + c went one way, Binomial(n, 1/2) if the
    models are equal. p = 2 P(X <= min(b, c)) - P(X = min(b, c)); 1 where they never differ.
    Fagerland, Lydersen, Laake, BMC Med Res Methodol 13:91 (2013).
    """
    first, second = _hits(first, second)
    b, c = int((first & ~second).sum()), int((~first & second).sum())
    if b == c:
        return 1.0
    less = min(b, c)
    return float(2 * binom.cdf(less, b + c, 0.5) - binom.pmf(less, b + c, 0.5))


def worse(first: np.ndarray, second: np.ndarray) -> float:
    """One-sided `mcnemar`: p in (0, 1) that `second` loses so much by chance; 1/2 at no change."""
    lost = np.asarray(first, int).sum() - np.asarray(second, int).sum()
    half = mcnemar(first, second) / 2
    return half if lost >= 0 else 1 - half


def holm(p: np.ndarray) -> np.ndarray:
    """(m,) p-values corrected for all of them: the chance that any of m is small by chance.

    The i-th smallest times m - i + 1, never less than one before it, at most 1. Holm, Scand J
    Statist 6 (1979).
    """
    order, m = np.argsort(p, kind="stable"), len(p)
    grown = np.maximum.accumulate(p[order] * np.arange(m, 0, -1)) if m else p
    corrected = np.empty(m)
    corrected[order] = np.minimum(grown, 1)
    return corrected


def bootstrap_difference(
    first: np.ndarray,
    second: np.ndarray,
    *,
    draws: int = 10_000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Interval:
    """Accuracy of `second` minus that of `first`, in [-1, 1], with a percentile interval.

    Both are (n,) hits of the same pictures, or shares in [0, 1] where several seeds were averaged;
    pictures are redrawn with both models' answers (Efron 1979). A picture's difference takes few
    values, so drawing how often each value occurs (multinomial) is the same as drawing pictures.
    """
    if len(first) != len(second) or not len(first):
        raise DataError(f"{len(first)} and {len(second)} pictures: expected the same ones, not 0")
    difference = np.asarray(second, float) - np.asarray(first, float)
    values, counts = np.unique(difference.round(9), return_counts=True)
    n = len(difference)
    drawn = np.random.default_rng(seed).multinomial(n, counts / n, size=draws) @ values / n
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(difference.mean()), float(low), float(high))


def fates(first: np.ndarray, second: np.ndarray) -> pd.Series:
    """Pictures per fate from the first to the second model; they sum to the number of pictures.

    vanish: wrong, then right; appear: right, then wrong; stay: wrong by both.
    """
    first, second = _hits(first, second)
    masks = (first & second, ~first & second, first & ~second, ~first & ~second)
    return pd.Series([int(mask.sum()) for mask in masks], index=list(FATES))


def error_reduction(before: float, after: float) -> float | None:
    """(after - before) / (1 - before): the share of errors gone, at most 1; None without errors."""
    return None if before >= 1 else (after - before) / (1 - before)


def _hits(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if len(first) != len(second):
        raise DataError(f"{len(first)} and {len(second)} pictures: expected the same ones")
    return np.asarray(first, bool), np.asarray(second, bool)
