"""Freeze-thaw search: promoting successive halving, with proposals from a model of all curves.

Trainings are paused at a few rungs and continued when their score is in the top share of those
that reached the same rung (ASHA with promotion, Li et al. 2020), or the best of at least two. New
configurations have the highest expected improvement at full length under a Gaussian process over
all curves (Swersky, Snoek, Adams 2014), drawn around a default that is known to be good
(PriorBand, Mallik et al. 2023).

Every proposal draws from a generator seeded by (seed, number of the proposal) alone, and the
model's hyperparameters are a function of the first observations alone. A resumed study may then
adopt logged proposals and promotions without computing them, and decides the same ever after.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from carsclf.tuning.search.curve_model import Array, CurveModel, Points
from carsclf.tuning.search.surrogate import expected_improvement, normal_scores, refit_point

FIRST = 6
"""Observations before the model says anything."""
EXPLORE = 0.25
"""Share of later proposals that are drawn without it: a wrong model finds out."""
CANDIDATES = 300
TRUST, AROUND, KEEP = 0.6, 0.5, 0.5
"""Share of draws around the default, their deviation in the unit cube, and the probability with
which such a draw keeps the default's choice."""
TWIN = 0.1
"""Distance in the unit cube, per root dimension, below which two configurations are twins, while
trials are few."""
KEPT = 250
"""Observations the model sees: those of the highest rungs, then the newest."""
TOP = 0.9
"""Share of the horizon from which a rung would save too little."""


@dataclass
class Curve:
    """One trial: its place in the unit cube, and its best score so far at each rung it reached."""

    trial: str
    number: int
    unit: Array
    until: int
    best: float = -math.inf
    scores: list[float] = field(default_factory=list)
    closed: bool = False

    def rank(self, rung: int) -> tuple[float, int]:
        """Sorts by score; the earlier of two equal trials is ahead."""
        return self.scores[rung], -self.number


class FreezeThawPolicy:
    """Which paused trial goes on, or which configuration is new.

    ``choices``: per column of the unit cube the number of options, 0 for a range. ``horizon``:
    epochs of a full training. ``prior``: unit-cube point (d,) of a configuration known to be good.
    ``rungs``: epochs at which trials pause, the horizon last.
    """

    left = math.inf
    """Full trainings that the budget still has; the caller sets it."""
    may_propose = True
    """Whether a new trial may be started; the caller sets it too."""

    def __init__(
        self,
        choices: Sequence[int],
        horizon: int,
        prior: Array | None = None,
        seed: int = 0,
        reduction: float = 3,
        first: float = 0.06,
    ) -> None:
        self.rungs = rungs(horizon, first, reduction)
        self._choices, self._horizon, self._seed = np.array(choices), horizon, seed
        self._prior, self._reduction = prior, reduction
        self._model = CurveModel(tuple(choices), prior)
        self._curves: dict[str, Curve] = {}
        self._reached: list[list[tuple[int, Curve]]] = [[] for _ in self.rungs]
        """Per rung, who was scored there, with the number of the observation."""
        self._fit: tuple[int, Array] = (0, self._model.centres)

    def add(self, trial: str, unit: Array, until: int | None = None) -> None:
        """A trial starts at a unit-cube point (d,) and runs to the first rung, or ``until``."""
        until = self.rungs[0] if until is None else until
        known = self._curves.get(trial)  # added again: another configuration in its place
        number = len(self._curves) if known is None else known.number
        self._curves[trial] = Curve(trial, number, np.asarray(unit), until)

    def until(self, trial: str) -> int:
        """The epoch at which a trial pauses."""
        return self._curves[trial].until

    def observe(self, trial: str, epoch: int, score: float) -> None:
        """A score after an epoch, the higher the better; what counts is the best at each rung."""
        curve = self._curves[trial]
        curve.best = max(curve.best, score)
        if not self._complete(curve) and epoch >= self.rungs[len(curve.scores)]:
            self._note(curve, curve.best)

    def close(self, trial: str, score_worst: bool) -> None:
        """A trial never goes on; if it failed, its next rung has the worst of scores."""
        curve = self._curves[trial]
        curve.closed = True
        if score_worst and not self._complete(curve):
            self._note(curve, -math.inf)

    def next(self) -> str | None:
        """The paused trial to continue (then ``promote`` it); None: start a new one.

        The highest rung comes first; its best paused trial goes on if it deserves to.
        """
        for rung in reversed(range(len(self.rungs) - 1)):
            leader = self._leader(rung)
            if leader and self._deserves(leader, rung):
                return leader.trial
        return self._finisher() if self.left < 1 or not self.may_propose else None

    def promote(self, trial: str) -> None:
        """A paused trial goes on to its next rung."""
        curve = self._curves[trial]
        curve.until = self.rungs[len(curve.scores)]

    def propose(self, number: int) -> Array:
        """The configuration of a new trial, a point (d,) in the unit cube."""
        generator = np.random.default_rng([self._seed, number])
        blind = self._count < FIRST or generator.random() < EXPLORE
        asked = np.array([c.unit for c in self._curves.values()]).reshape(-1, len(self._choices))
        units = self._draw(generator, self._trust(asked))
        gain = np.zeros(CANDIDATES) if blind else self._gain(units, asked)
        # Without this, a flat top is sampled over and over, and parallel proposals pile up.
        gain[self._model.nearest(units, asked) < _twin(*asked.shape)] = -1.0
        return units[int(gain.argmax())]

    def _leader(self, rung: int) -> Curve | None:
        """The best trial that pauses at a rung, the earlier of two equal ones."""
        paused = [
            curve
            for _, curve in self._reached[rung]
            if curve.until <= self.rungs[rung] and not curve.closed
        ]
        return max(paused, key=lambda curve: curve.rank(rung), default=None)

    def _deserves(self, curve: Curve, rung: int) -> bool:
        """Among the top share of all that reached the rung, or the best of at least two.

        With two a share is nobody yet, and who beats the default's own score need not wait.
        """
        here = self._reached[rung]
        ahead = sum(other.rank(rung) > curve.rank(rung) for _, other in here)
        return ahead < max(int(len(here) > 1), int(len(here) / self._reduction))

    def _finisher(self) -> str | None:
        """The best trial of the highest rung from which what is left reaches the horizon."""
        for rung in reversed(range(len(self.rungs) - 1)):
            owed = self._horizon - self.rungs[rung]
            if owed <= self.left * self._horizon + 1e-6 and (leader := self._leader(rung)):
                return leader.trial
        return None

    def _draw(self, generator: np.random.Generator, trust: float) -> Array:
        """Points around the default, where there is one, and all over the cube."""
        units = generator.random((CANDIDATES, len(self._choices)))
        if self._prior is None:
            return units
        moved = self._prior + AROUND * generator.standard_normal(units.shape)
        kept = np.where(generator.random(units.shape) < KEEP, self._prior, units)
        around = np.where(self._choices > 0, kept, np.clip(moved, 0.0, 1.0))
        return np.where(generator.random((CANDIDATES, 1)) < trust, around, units)

    def _trust(self, asked: Array) -> float:
        """Share of draws around the default: falls with the share of trials that beat it."""
        if self._prior is None or not len(asked):
            return TRUST
        nearest = int(self._model.nearest(asked, self._prior[None]).argmin())
        scores = list(self._curves.values())[nearest].scores
        if not scores:
            return TRUST
        return TRUST * float(np.mean([c.scores[0] <= scores[0] for _, c in self._reached[0]]))

    def _gain(self, units: Array, asked: Array) -> Array:
        """Expected improvement at full length on the best that is expected of any trial."""
        points, targets = self._data(self._count)
        logs = self._hyperparameters()
        rows = np.unique(points.trials)
        known = Points(asked[rows], np.zeros(len(rows)), rows)
        fresh = Points(units, np.zeros(len(units)), np.full(len(units), -1))
        mean, deviation = self._model.posterior(logs, points, targets, known + fresh)
        best = mean[: len(rows)].max()
        mean, deviation = mean[len(rows) :], deviation[len(rows) :]
        return expected_improvement(mean - best, deviation)

    def _hyperparameters(self) -> Array:
        """Refitted only as observations grow by 30 %."""
        count = refit_point(self._count, 4)
        if self._fit[0] != count:
            self._fit = count, self._model.fit(*self._data(count))
        return self._fit[1]

    def _data(self, count: int) -> tuple[Points, Array]:
        """The model's share of the first observations, and the normal scores of their ranks.

        Ranks: crashed and diverged trainings are no outliers then.
        """
        seen = [
            (rung, curve)
            for rung in reversed(range(len(self.rungs)))
            for order, curve in reversed(self._reached[rung])
            if order < count
        ][:KEPT]
        units = np.array([curve.unit for _, curve in seen])
        lengths = np.log2([self.rungs[rung] / self._horizon for rung, _ in seen])
        trials = np.array([curve.number for _, curve in seen])
        targets = normal_scores([curve.scores[rung] for rung, curve in seen])
        return Points(units, lengths, trials), targets

    @property
    def _count(self) -> int:
        return sum(map(len, self._reached))

    def _complete(self, curve: Curve) -> bool:
        return len(curve.scores) == len(self.rungs)

    def _note(self, curve: Curve, score: float) -> None:
        self._reached[len(curve.scores)].append((self._count, curve))
        curve.scores.append(score)


def rungs(horizon: int, first: float, reduction: float) -> tuple[int, ...]:
    """Epochs of the rungs: a first share of the horizon, times ``reduction`` up to 90 %, and all.

    Each share is rounded by itself, so that short horizons keep the spacing: 8 epochs pause at 1
    (not at 6 %, which is none) and at 4 (54 %).
    """
    ends, share = {horizon}, first
    while share < TOP:
        ends.add(max(1, round(share * horizon)))
        share *= reduction
    return tuple(sorted(ends))


def _twin(count: int, dimension: int) -> float:
    """At most half the spacing of a grid of as many trials, which a space of few columns needs."""
    return min(TWIN, 0.5 * max(count, 1) ** (-1 / dimension) / math.sqrt(dimension))
