"""Searches: searcher and scheduler as one choice, so that a wrong pair cannot be written down."""

import importlib.util
import math
from dataclasses import dataclass
from typing import Any, ClassVar

from ray.tune.schedulers import (
    ASHAScheduler,
    FIFOScheduler,
    HyperBandForBOHB,
    TrialScheduler,
)

from carsclf.errors import ConfigError
from carsclf.tuning.multitask import GaussianProcess
from carsclf.tuning.searchers import Density, Tpe, Uniform
from carsclf.tuning.space import Space
from carsclf.tuning.trial import RUNG, SCORE, TIME, length


@dataclass(frozen=True, kw_only=True)
class Search:
    """Budget (in full trainings), cap on trials and seed, which every search has."""

    budget: float
    trials: int
    seed: int = 0
    fixed: ClassVar[bool] = False
    """Trials run the length they were proposed with."""
    schedule: ClassVar[str] = "prefix"
    """What a shortened training is: the full one cut ('prefix') or a short one ('complete')."""

    def __post_init__(self) -> None:
        if self.budget < 1:
            raise ConfigError(f"search.budget={self.budget}: expected at least 1 full training")
        if self.trials < 1:
            raise ConfigError(f"search.trials={self.trials}: expected at least 1 trial")

    def build(self, space: Space, horizon: int) -> tuple[Any, TrialScheduler]:
        """Fresh searcher and scheduler for trainings of ``horizon`` epochs."""
        raise NotImplementedError

    def clock(self, epoch: int, horizon: int) -> dict[str, float]:
        """How far a trial is, in the scheduler's units."""
        return {TIME: epoch}

    def least(self, horizon: int) -> int:
        """Epochs that starting a trial costs for sure."""
        return 1


@dataclass(frozen=True, kw_only=True)
class Random(Search):
    """Full-length trainings drawn at random: the yardstick."""

    fixed = True

    def build(self, space: Space, horizon: int) -> tuple[Any, TrialScheduler]:
        """See Search."""
        return Uniform(space, self.seed), FIFOScheduler()

    def least(self, horizon: int) -> int:
        """See Search."""
        return horizon


@dataclass(frozen=True, kw_only=True)
class Asha(Search):
    """Successive halving without waiting (Li et al. 2020), on TPE proposals.

    Ray's version stops trials and never promotes them.
    """

    grace: float
    reduction: float

    def __post_init__(self) -> None:
        """Raises ConfigError for rungs that would stop nothing or everything."""
        super().__post_init__()
        if not 0 < self.grace < 1:
            raise ConfigError(f"search.grace={self.grace}: expected a share between 0 and 1")
        _above_one(self.reduction)

    def build(self, space: Space, horizon: int) -> tuple[Any, TrialScheduler]:
        """See Search."""
        scheduler = ASHAScheduler(
            time_attr=TIME,
            metric=SCORE,
            mode="max",
            max_t=horizon,
            grace_period=max(1, round(self.grace * horizon)),
            reduction_factor=self.reduction,
        )
        return Tpe(space, self.seed), scheduler


@dataclass(frozen=True, kw_only=True)
class Bohb(Search):
    """HyperBand brackets on density-ratio proposals (Falkner et al. 2018).

    Time is counted in units of the lowest rung, reduction**(rungs - 1) to a full training: counted
    in epochs, Ray rounds each bracket's rungs differently, so the model for each budget would
    learn from one bracket only and no trial would reach the full length.
    """

    rungs: int
    reduction: float

    def __post_init__(self) -> None:
        """Raises ConfigError for a ladder of fewer than two rungs."""
        super().__post_init__()
        if self.rungs < 2:
            raise ConfigError(f"search.rungs={self.rungs}: expected at least 2")
        _above_one(self.reduction)

    def build(self, space: Space, horizon: int) -> tuple[Any, TrialScheduler]:
        """See Search; raises ConfigError when two rungs fall on the same epoch."""
        if importlib.util.find_spec("hpbandster") is None:
            raise ConfigError("search=bohb needs hpbandster: pip install 'carsclf[bohb]'")
        ends = [math.ceil(horizon * self.reduction**-k) for k in range(self.rungs)]
        if len(set(ends)) < self.rungs:
            raise ConfigError(
                f"search.rungs={self.rungs}: {horizon} epochs give rungs {sorted(ends)}, which do "
                "not increase; use fewer rungs or more epochs"
            )
        scheduler = HyperBandForBOHB(
            time_attr=RUNG,
            metric=SCORE,
            mode="max",
            max_t=self._top,
            reduction_factor=self.reduction,
        )
        return Density(space, self.seed), scheduler

    def clock(self, epoch: int, horizon: int) -> dict[str, float]:
        """See Search."""
        return {TIME: epoch, RUNG: epoch / horizon * self._top}

    @property
    def _top(self) -> int:
        return round(self.reduction ** (self.rungs - 1))


@dataclass(frozen=True, kw_only=True)
class Multitask(Search):
    """The published method: a Gaussian process chooses configuration and length of fresh runs.

    A short run has a schedule of its own length: cut short, a cosine or one-cycle schedule ranks
    configurations badly, and no run is continued, so nothing calls for a common schedule.
    """

    fidelities: tuple[float, ...]
    fixed = True
    schedule = "complete"

    def __post_init__(self) -> None:
        """Raises ConfigError unless the fidelities increase up to 1."""
        super().__post_init__()
        steps = tuple(self.fidelities)
        if list(steps) != sorted(set(steps)) or not steps or steps[0] <= 0 or steps[-1] != 1:
            raise ConfigError(
                f"search.fidelities={list(steps)}: expected increasing shares of a full training "
                "that end at 1, for example [0.1, 0.5, 1.0]"
            )

    def build(self, space: Space, horizon: int) -> tuple[Any, TrialScheduler]:
        """See Search; raises ConfigError when two fidelities are the same number of epochs."""
        lengths = [length(f, horizon) for f in self.fidelities]
        if len(set(lengths)) < len(lengths):
            raise ConfigError(
                f"search.fidelities={list(self.fidelities)}: of {horizon} epochs these are "
                f"{lengths}, which do not increase; use more epochs or fewer fidelities"
            )
        return GaussianProcess(space, tuple(self.fidelities), self.seed), FIFOScheduler()

    def least(self, horizon: int) -> int:
        """See Search."""
        return length(self.fidelities[0], horizon)


def _above_one(reduction: float) -> None:
    if reduction <= 1:
        raise ConfigError(f"search.reduction={reduction}: expected more than 1, for example 3")
