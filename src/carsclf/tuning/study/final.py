"""The final: a study's best few and its incumbent, trained anew over several seeds and compared.

A search's best score is the largest of many noisy ones, so it flatters. The final draws new seeds,
the same for all, and names another winner than the incumbent only if an interval excludes zero.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from carsclf.errors import ConfigError
from carsclf.tuning.trial import Trial

Array = NDArray[np.float64]
CONFIDENCE = 0.95
PHOTOS = 4.0
"""Degrees of freedom that the spread over photos is worth beside that over seeds."""


@dataclass(frozen=True)
class Outcome:
    """One training of the final: its score, and where known the share each photo adds to it."""

    score: float
    photos: Array | None = None
    """(n,) such that their mean is the score."""


@dataclass(frozen=True)
class Comparison:
    """A candidate against the incumbent: mean difference of the scores, interval, probability."""

    difference: float
    low: float
    high: float
    probability: float
    """That the candidate is better."""
    seeds: int


def final_size(trainings: float) -> tuple[int, int]:
    """Candidates beside the incumbent and seeds for each, from full trainings; (0, 0): too few.

    Seeds come first: one candidate up to eight trainings, and never more than three, as each
    further one widens every interval.
    """
    whole = math.floor(trainings + 1e-9)
    if whole < 2:
        return 0, 0
    candidates = 1 if whole < 9 else 2 if whole < 16 else 3
    return candidates, whole // (candidates + 1)


def pairs(
    ranked: Sequence[Trial], incumbent: Trial | None, trainings: float
) -> Iterator[tuple[Trial, int]]:
    """Which trial is trained anew with which seed, seed by seed, the incumbent first.

    ``ranked``: trials, best first, without the failed; an incumbent that failed takes no part.
    """
    candidates, seeds = final_size(trainings)
    chosen: dict[tuple[str, ...], Trial] = {}
    for trial in ranked:
        if trial is not incumbent:
            chosen.setdefault(tuple(trial.overrides), trial)
    taken = list(chosen.values())[:candidates]
    known = [trial for trial in ranked if trial is incumbent]
    for seed in range(1, seeds + 1) if taken else ():
        yield from ((trial, seed) for trial in [*known, *taken])


def line_up(
    ranked: Sequence[Trial], incumbent: Trial | None, trainings: float, horizon: int, first: int
) -> list[Trial]:
    """The final's trainings of ``horizon`` epochs, numbered from ``first`` on; see pairs."""
    return [
        Trial(
            *(number, of.raw, of.overrides, horizon, True, "final"),
            values=of.values,
            repeats=of.number,
            seed=seed,
        )
        for number, (of, seed) in enumerate(pairs(ranked, incumbent, trainings), start=first)
    ]


def compare(
    incumbent: Sequence[Outcome], candidate: Sequence[Outcome], candidates: int = 1
) -> Comparison:
    """Candidate minus incumbent, of trainings paired by seed.

    The variance of the mean difference is taken from two sides: over seeds, and over photos where
    they are known (each photo's difference, averaged over seeds; a paired test such as McNemar's).
    Seeds are few, so their variance is moderated by that over photos, which counts as PHOTOS
    degrees of freedom (Smyth 2004, moderated t); it is never taken to be smaller than the latter,
    which says how far other photos would have told another story. ``candidates``: how many were
    compared with this incumbent (Bonferroni). Without photos and with one seed the interval is
    infinite. Raises ConfigError unless both have the same number of trainings, at least one.
    """
    if len(incumbent) != len(candidate) or not incumbent:
        raise ConfigError("the final compares trainings paired by seed, at least one of each")
    seeds = len(incumbent)
    differences = np.array([c.score - i.score for i, c in zip(incumbent, candidate, strict=True)])
    over_seeds = float(differences.var(ddof=1)) / seeds if seeds > 1 else 0.0
    over_photos = _over_photos(incumbent, candidate)
    freedom = seeds - 1.0
    variance = over_seeds
    if over_photos is not None:
        variance = (PHOTOS * over_photos + freedom * over_seeds) / (PHOTOS + freedom)
        variance, freedom = max(variance, over_photos), PHOTOS + freedom
    mean = float(differences.mean())
    if not freedom:
        return Comparison(mean, -math.inf, math.inf, 0.5, seeds)
    error = math.sqrt(variance)
    half = float(student.ppf(1 - (1 - CONFIDENCE) / 2 / candidates, freedom)) * error
    return Comparison(mean, mean - half, mean + half, _probability(mean, error, freedom), seeds)


def _over_photos(incumbent: Sequence[Outcome], candidate: Sequence[Outcome]) -> float | None:
    pairs = [(i.photos, c.photos) for i, c in zip(incumbent, candidate, strict=True)]
    known = [c - i for i, c in pairs if i is not None and c is not None]
    if len(known) < len(pairs) or len(known[0]) < 2:
        return None
    each = np.mean(known, axis=0)
    return float(each.var(ddof=1)) / len(each)


def _probability(mean: float, error: float, freedom: float) -> float:
    if error == 0:
        return 0.5 if mean == 0 else float(mean > 0)
    return float(student.cdf(mean / error, freedom))
