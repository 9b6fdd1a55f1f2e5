"""What a longer training will probably come to, from short complete ones."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit
from scipy.stats import norm

from carsclf.analysis.comparison import Interval
from carsclf.errors import DataError

EXPONENT = (1.1, 0.6)
"""Of the first epochs, before anything is measured: mean and deviation among trainings here
(experiments/advise)."""
KEEPS = (0.55, 0.08)
"""What the exponent keeps of itself with each doubling of the epochs, and the deviation of that
among trainings here (experiments/advise): curves flatten."""


@dataclass(frozen=True)
class Short:
    """A complete short training: its epochs, and how much of n validation pictures it got right."""

    epochs: int
    top1: float
    images: int

    @property
    def odds(self) -> float:
        """The logarithm of wrong ones to right ones; half a picture is added to both.

        No finite number of pictures shows that all are right.
        """
        wrong = (1 - self.top1) * self.images
        return math.log((wrong + 0.5) / (self.images - wrong + 0.5))

    @property
    def variance(self) -> float:
        """Of `odds`, by the delta method."""
        share = expit(self.odds)
        return 1 / (share * (1 - share) * self.images)


@dataclass(frozen=True)
class Exponent:
    """b of odds of an error = a x epochs^-b, and its standard error."""

    value: float
    error: float


def exponent(shorts: Sequence[Short]) -> Exponent:
    """The exponent by weighted least squares of log odds on log epochs, drawn to `EXPONENT`.

    Both are weighted by their precision, so that few validation pictures leave it near what is
    known of other trainings. That errors fall as a power of what was trained: Hestness et al. 2017;
    odds are as good as errors where these are small, and fall steadily where nearly all is wrong.
    """
    mean, deviation = EXPONENT
    noise = scatter(shorts) ** 2
    x = np.log([short.epochs for short in shorts])
    y = np.array([short.odds for short in shorts])
    weights = np.array([1 / (short.variance + noise) for short in shorts])
    centre = x - np.average(x, weights=weights)
    precision = float(weights @ centre**2)  # of the slope; 0 where all are of one length
    slope = -float(weights @ (centre * y)) / precision if precision else 0.0
    whole = precision + 1 / deviation**2
    return Exponent((precision * slope + mean / deviation**2) / whole, 1 / math.sqrt(whole))


def scatter(shorts: Sequence[Short]) -> float:
    """Of the log odds, by which trainings differ: half of what a longer one was worse by."""
    last = max(shorts, key=lambda short: short.epochs)
    return max(0.0, last.odds - min(short.odds for short in shorts)) / 2


def forecast(
    shorts: Sequence[Short], epochs: int, judged: int, confidence: float = 0.95
) -> Interval:
    """Accuracy after a training of so many epochs, with an interval for that on `judged` pictures.

    The odds of an error go on from the longest short training as a power of the epochs. The
    exponent is the one measured half a doubling before it, and keeps `KEEPS` of itself with each
    doubling. The interval has the standard errors of both, and the error never rises. Where the
    longest was worse than a shorter one, it begins half way between them, and trainings are taken
    to differ by as much (`scatter`). Chance of the pictures, those that the forecast rests on and
    those that judge, widens both. Raises DataError without a training.
    """
    if not shorts:
        raise DataError("a forecast needs at least one short training")
    last = max(shorts, key=lambda short: short.epochs)
    b, z = exponent(shorts), float(norm.ppf((1 + confidence) / 2))
    keeps, differing = KEEPS
    apart = scatter(shorts)
    doublings = max(0.0, math.log2(epochs / last.epochs))

    def fallen(by: float, keeps: float) -> float:
        """By how much log odds fall: the exponent over the doublings."""
        over = math.sqrt(keeps) * (1 - keeps**doublings) / -math.log(keeps)
        return max(0.0, by) * math.log(2) * over

    def end(sign: int) -> float:
        """Accuracy at an end of the interval, chance apart."""
        of_exponent = fallen(b.value + sign * z * b.error, keeps) - fell
        of_keeping = fallen(b.value, keeps + sign * z * differing) - fell
        return float(expit(fell - begins + sign * math.hypot(of_exponent, of_keeping, z * apart)))

    begins, fell = last.odds - apart, fallen(b.value, keeps)
    value, low, high = float(expit(fell - begins)), end(-1), end(1)
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
