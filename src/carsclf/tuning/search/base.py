"""What every search has: a budget, a start, a final; and what it makes of a space."""

import math
import re
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from ray.tune.schedulers import TrialScheduler

from carsclf.errors import ConfigError
from carsclf.tuning.search.prior import AroundKnown
from carsclf.tuning.space import Raw, Space
from carsclf.tuning.trial import TIME, Trial


@dataclass(frozen=True, kw_only=True)
class Search:
    """Budgets (full trainings, hours or both), cap on trials and seed, which every search has."""

    budget: float | None
    trials: int
    seed: int = 0
    hours: float | None = None
    final: float = 0.0
    """Share of the budget kept for the final; 0: none."""
    prior: float = 0.0
    """Share of the proposals that are drawn around the incumbent."""
    start: tuple[Any, ...] = ()
    """Further configurations that are known before the search; see carsclf.tuning.study.start."""
    fixed: ClassVar[bool] = False
    """Trials run the length they were proposed with."""
    shortened: ClassVar[str] = "prefix"
    """What a shortened training is: the full one cut ('prefix') or a short one ('complete')."""
    promotes: ClassVar[bool] = False
    """Whether a paused trial may be better than a new one: the scheduler is asked first."""
    again: ClassVar[bool] = False
    """Whether a resumed study asks the searcher again, as it cannot be told what it proposed."""

    def __post_init__(self) -> None:
        if self.budget is None and self.hours is None:
            raise ConfigError("search.budget=null needs search.hours=<number>, or give both")
        if self.budget is not None and self.budget < 1:
            raise ConfigError(f"search.budget={self.budget}: expected at least 1 full training")
        if self.hours is not None and self.hours <= 0:
            raise ConfigError(f"search.hours={self.hours}: expected more than 0")
        if self.trials < 1:
            raise ConfigError(f"search.trials={self.trials}: expected at least 1 trial")
        if not 0 <= self.final < 1:
            raise ConfigError(f"search.final={self.final}: expected a share of the budget below 1")
        if not 0 <= self.prior <= 1:
            raise ConfigError(f"search.prior={self.prior}: expected a share between 0 and 1")

    def begin(self, space: Space, horizon: int, known: Raw | None) -> tuple[Any, TrialScheduler]:
        """Searcher and scheduler for trainings of ``horizon`` epochs.

        ``known``: the incumbent's raw values, around which a share of the proposals is drawn.
        """
        searcher, scheduler = self.build(space, horizon, known)
        if known is not None and self.prior:
            searcher = AroundKnown(searcher, space, known, self.prior, self.seed)
        return searcher, scheduler

    def build(self, space: Space, horizon: int, known: Raw | None) -> tuple[Any, TrialScheduler]:
        """The search's own, fresh; see begin."""
        raise NotImplementedError

    def clock(self, epoch: int, horizon: int) -> dict[str, float]:
        """How far a trial is, in the scheduler's units."""
        return {TIME: epoch}

    def outside(self, result: dict[str, Any]) -> dict[str, Any]:
        """The result of a full training that ran without the scheduler, for the searcher."""
        return result

    def missed(
        self, scheduler: TrialScheduler, trial: Trial, result: dict[str, Any]
    ) -> dict[str, Any]:
        """The result that a failed trial is taken to have had, for the searcher."""
        return result

    def least(self, horizon: int) -> int:
        """Epochs that starting a trial costs for sure."""
        return 1

    def why(self, epoch: int, horizon: int) -> str:
        """Why the scheduler ended a trial after this epoch."""
        return f"stopped at epoch {epoch}"

    def check_budget(self, starts: int) -> None:
        """Raises ConfigError for a budget that holds no final, or no search beside it."""
        if self.budget is None:
            return
        if self.final and self.reserved < 2:
            raise ConfigError(
                f"search.budget={self.budget:g}: the final needs 2 full trainings (the incumbent "
                f"and one other), and search.final={self.final:g} of it are "
                f"{self.final * self.budget:.2g}: give search.budget={math.ceil(2 / self.final)}, "
                f"search.final={min(0.9, math.ceil(200 / self.budget) / 100):g}, or search.final=0"
            )
        if (needed := starts + self.reserved) > self.budget:
            raise ConfigError(
                f"search.budget={self.budget:g}: {starts} known configurations at full length and "
                f"a final of {self.reserved} trainings need {needed}, and more for a search"
            )

    @property
    def name(self) -> str:
        """As conf/search/ has it."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", type(self).__name__).lower()

    @property
    def for_search(self) -> float:
        """Full trainings that may be spent before the final."""
        return math.inf if self.budget is None else self.budget - self.reserved

    def for_final(self, spent: float) -> float:
        """Full trainings that the final may take after so many."""
        return math.inf if self.budget is None else min(self.reserved, self.budget - spent)

    @property
    def reserved(self) -> int:
        """Full trainings that are kept for the final."""
        return 0 if self.budget is None else math.floor(self.final * self.budget + 1e-9)


def check_rungs(grace: float, reduction: float) -> None:
    """Raises ConfigError for rungs that would end nothing or everything."""
    if not 0 < grace < 1:
        raise ConfigError(f"search.grace={grace}: expected a share between 0 and 1")
    above_one(reduction)


def above_one(reduction: float) -> None:
    """Raises ConfigError for a reduction that would reduce nothing."""
    if reduction <= 1:
        raise ConfigError(f"search.reduction={reduction}: expected more than 1, for example 3")


def mixed(seed: int, count: int) -> int:
    """A 32-bit seed for the count-th draw."""
    return int(np.random.SeedSequence([seed, count]).generate_state(1)[0])
