"""How an error falls with the number of pictures: error = a n^-b + c, and how surely."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import OptimizeWarning, curve_fit

STEEPEST = 2.0  # exponents found for classifiers lie between 0.07 and 0.35 (Hestness et al. 2017)


@dataclass(frozen=True)
class PowerLaw:
    """a n^-b + c; n: pictures, c: the error that no number of pictures takes away."""

    a: float
    b: float
    c: float

    def error(self, n: float) -> float:
        return self.a * n**-self.b + self.c

    def pictures_per_point(self, n: float, point: float = 0.01) -> float:
        """How many more than n lessen the error by a point; infinite where none do."""
        above = self.error(n) - self.c
        if above <= point:
            return float("inf")
        try:
            return n * ((1 - point / above) ** (-1 / self.b) - 1)
        except OverflowError:  # a nearly flat curve, hardly a point above its end
            return float("inf")


def fit_power_law(images: Sequence[float], errors: Sequence[float]) -> PowerLaw:
    """Least squares; at least three numbers of pictures. Errors in [0, 1].

    Learning curves: Cortes et al. 1993; Hestness et al. 2017.
    """
    n, error = np.asarray(images, float), np.asarray(errors, float)
    largest = n.max()

    def curve(x: np.ndarray, a: float, b: float, c: float) -> np.ndarray:
        return a * x**-b + c

    least = error.min()
    start = (max(least / 2, 1e-3), 0.5, least / 2)
    bounds = ([0, 1e-2, 0], [1, STEEPEST, 1])
    with warnings.catch_warnings():  # of a covariance that nothing here uses
        warnings.simplefilter("ignore", OptimizeWarning)
        (a, b, c), _ = curve_fit(curve, n / largest, error, p0=start, bounds=bounds, maxfev=5000)
    return PowerLaw(float(a * largest**b), float(b), float(c))


def redrawn_laws(
    images: Sequence[float],
    errors: Sequence[Sequence[float]],
    judged: int,
    *,
    draws: int = 200,
    seed: int = 0,
) -> list[PowerLaw]:
    """Laws of a parametric bootstrap: over draws of the pictures, and over those that judge.

    errors: of each size, one a draw. The mean of a size is redrawn with its draws' spread; a size
    of one draw has that of the size before it. All draws are judged on the same pictures, so a
    sample of these shifts all errors alike, by as much as sqrt(p (1 - p) / judged) at the largest
    size.
    """
    rng, laws = np.random.default_rng(seed), []
    order = np.argsort(images)
    n = np.asarray(images, float)[order]
    each = [np.asarray(errors[i], float) for i in order]
    mean, spread = np.array([e.mean() for e in each]), np.zeros(len(each))
    for i, e in enumerate(each):
        one = e.std(ddof=1) if len(e) > 1 else spread[i - 1] * np.sqrt(len(each[i - 1]))
        spread[i] = one / np.sqrt(len(e))
    least = mean[-1]
    shared = np.sqrt(max(least * (1 - least), 1 / judged) / judged)
    for _ in range(draws):
        redrawn = mean + rng.normal(0, spread) + rng.normal(0, shared)
        laws.append(fit_power_law(n.tolist(), redrawn.clip(0, 1).tolist()))
    return laws


def interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """The percentile interval; its ends are values that occur, as some may be infinite."""
    ends = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2], method="nearest")
    return float(ends[0]), float(ends[1])
