"""What a longer training will probably come to, from short complete ones."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from carsclf.analysis.comparison import Interval
from carsclf.errors import DataError

EXPONENT = (0.4, 0.3)
"""Before anything is measured, the exponent's mean and deviation: trainings here had about 0 on
coarse scenes and 0.7 on fine-grained cars (experiments/first_cars)."""
BENDS = 0.5
"""By which share of it the exponent may change on the way: curves of many epochs flatten, and those
of fine-grained classes fall faster once the first epochs are over."""


@dataclass(frozen=True)
class Short:
    """A complete short training: its epochs, and how much of n validation pictures it got right."""

    epochs: int
    top1: float
    images: int

    @property
    def error(self) -> float:
        """Never 0, which no finite number of pictures shows (half a picture is added)."""
        return ((1 - self.top1) * self.images + 0.5) / (self.images + 1)

    @property
    def variance(self) -> float:
        """Of the error's logarithm, by the delta method."""
        return (1 - self.error) / (self.error * self.images)


@dataclass(frozen=True)
class Exponent:
    """b of error = a x epochs^-b, and its standard error."""

    value: float
    error: float


def exponent(shorts: Sequence[Short]) -> Exponent:
    """The exponent by weighted least squares of log error on log epochs, drawn to `EXPONENT`.

    Both are weighted by their precision, so that few validation pictures leave it near what is
    known of other trainings. That errors fall as a power of what was trained: Hestness et al. 2017.
    """
    mean, deviation = EXPONENT
    noise = scatter(shorts) ** 2
    x = np.log([short.epochs for short in shorts])
    y = np.log([short.error for short in shorts])
    weights = np.array([1 / (short.variance + noise) for short in shorts])
    centre = x - np.average(x, weights=weights)
    precision = float(weights @ centre**2)  # of the slope; 0 where all are of one length
    slope = -float(weights @ (centre * y)) / precision if precision else 0.0
    whole = precision + 1 / deviation**2
    return Exponent((precision * slope + mean / deviation**2) / whole, 1 / math.sqrt(whole))


def scatter(shorts: Sequence[Short]) -> float:
    """Of the log error, by which trainings differ: half of what a longer one was worse by."""
    last = max(shorts, key=lambda short: short.epochs)
    return max(0.0, math.log(last.error / min(short.error for short in shorts))) / 2


def forecast(
    shorts: Sequence[Short], epochs: int, judged: int, confidence: float = 0.95
) -> Interval:
    """Accuracy after a training of so many epochs, with an interval for that on `judged` pictures.

    The error goes on from the longest short training as a power law; at the interval's ends its
    exponent is changed by `BENDS` of it and by its standard errors, and the error never rises.
    Where the longest was worse than a shorter one, it begins half way between them, and trainings
    are taken to differ by as much (`scatter`). Chance of the pictures, those that the forecast
    rests on and those that judge, widens both.
    Raises DataError without a training.
    """
    if not shorts:
        raise DataError("a forecast needs at least one short training")
    last = max(shorts, key=lambda short: short.epochs)
    b, z = exponent(shorts), float(norm.ppf((1 + confidence) / 2))
    grown = math.log(max(1.0, epochs / last.epochs))

    apart = scatter(shorts)
    base = last.error * math.exp(-apart)

    def reached(by: float) -> float:
        return 1 - base * math.exp(-max(0.0, by) * grown)

    value, off = reached(b.value), math.hypot(BENDS * b.value, z * b.error)
    wide = math.exp(z * apart)
    low, high = 1 - (1 - reached(b.value - off)) * wide, 1 - (1 - reached(b.value + off)) / wide
    low = max(0.0, low)
    down = value - low, z * _chance(low, last.images, judged)
    up = high - value, z * _chance(value, last.images, judged)
    return Interval(value, max(0.0, value - math.hypot(*down)), min(1.0, value + math.hypot(*up)))


def repeated(
    top1: float, images: int, judged: int, tries: int = 1, confidence: float = 0.95
) -> Interval:
    """What the best of some tries on `images` pictures will be on `judged` other ones.

    The best is flattered: were all equally good and independent, by the expected largest of so many
    normal deviates (Blom 1958). They are neither, so half of that is taken off, and added to the
    interval. Half a picture right and half a wrong one are counted besides, so that 0 and 1 are not
    taken for certain.
    """
    z, share = float(norm.ppf((1 + confidence) / 2)), (top1 * images + 0.5) / (images + 1)
    flattery = float(norm.ppf((tries - 0.375) / (tries + 0.25))) * _chance(share, images) / 2
    half = math.hypot(z * _chance(share, images, judged), flattery)
    value = max(0.0, top1 - flattery)
    return Interval(value, max(0.0, value - half), min(1.0, value + half))


def _chance(share: float, *images: int) -> float:
    """Standard deviation of a difference between shares of two sets of pictures."""
    return math.sqrt(share * (1 - share) * sum(1 / n for n in images))
