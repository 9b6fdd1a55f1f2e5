"""Any scheduler and searcher of Ray Tune, by class, where the study's loop can carry it."""

import logging
import math
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from ray.tune.schedulers import (
    FIFOScheduler,
    HyperBandForBOHB,
    TrialScheduler,
)
from ray.tune.search import Searcher
from ray.tune.search.bohb import TuneBOHB

from carsclf.errors import ConfigError
from carsclf.tuning.search.base import Search
from carsclf.tuning.search.random import Uniform
from carsclf.tuning.search.ray_parts import check_grace, claim, made, target_of
from carsclf.tuning.space import Raw, Space
from carsclf.tuning.trial import SCORE, TIME, Trial

SEEDS = ("seed", "random_state_seed", "random_state")
"""What Ray's searchers and Optuna's samplers call it."""


@dataclass(frozen=True, kw_only=True)
class Ray(Search):
    """A scheduler and a searcher of Ray Tune, each a class (`_target_`) and its options.

    Neither: every trial runs its whole length; uniform draws. Such a searcher cannot be told what
    it has proposed, so a resumed study asks it again and compares. Configurations that are known
    before the search reach it with their scores where it has `add_evaluated_point` (Optuna, HEBO);
    others never hear of them.
    """

    scheduler: Mapping[str, Any] | None = None
    searcher: Mapping[str, Any] | None = None
    again = True

    def __post_init__(self) -> None:
        """Raises ConfigError for a prior, which a searcher of Ray's could not be told of."""
        super().__post_init__()
        if self.prior:
            raise ConfigError(
                "search.prior: a searcher of Ray Tune hears of its own proposals only"
            )

    @property
    def fixed(self) -> bool:  # type: ignore[override]
        """See Search."""
        return not target_of(self.scheduler)

    def build(self, space: Space, horizon: int, known: Raw | None) -> tuple[Any, TrialScheduler]:
        """See Search; raises ConfigError for what cannot be carried, and for options that fit not.

        Both are fresh, with the study's metric, mode and clock.
        """
        scheduler: Any = FIFOScheduler()
        if self.scheduler and target_of(self.scheduler):
            filled = {"time_attr": TIME, "max_t": horizon}
            scheduler = made("search.scheduler", self.scheduler, TrialScheduler, filled)
            check_grace(self.scheduler, scheduler, horizon)
            claim("search.scheduler", scheduler, {})
        logging.getLogger("optuna").setLevel(logging.WARNING)
        searcher: Any = Uniform(space, self.seed)
        if self.searcher and target_of(self.searcher):
            seeds: dict[str, Any] = dict.fromkeys(SEEDS, self.seed)
            searcher = made("search.searcher", self.searcher, Searcher, seeds)
            claim("search.searcher", searcher, {"config": space.domains})
        if isinstance(scheduler, HyperBandForBOHB) != isinstance(searcher, TuneBOHB):
            raise ConfigError(
                "HyperBandForBOHB and TuneBOHB only work with each other: search.scheduler._target_"
                "=ray.tune.schedulers.HyperBandForBOHB "
                "search.searcher._target_=ray.tune.search.bohb.TuneBOHB, or search=bohb"
            )
        return Asked(searcher, self.seed), Obeyed(scheduler, horizon, self.seed)

    def least(self, horizon: int) -> int:
        """See Search."""
        return horizon if self.fixed else 1

    def why(self, epoch: int, horizon: int) -> str:
        """See Search."""
        return f"{target_of(self.scheduler).rpartition('.')[2]} at epoch {epoch}"


class Asked(Searcher):
    """A searcher of Ray's that hears of its own proposals, and of others by their scores."""

    left = math.inf

    def __init__(self, searcher: Any, seed: int) -> None:
        super().__init__(metric=SCORE, mode="max")
        self._searcher, self._draws = searcher, Draws(seed)
        self._known: dict[str, Raw] = {}

    def suggest(self, trial_id: str) -> Raw | None:
        """See Ray's Searcher; one that has finished has nothing more to propose."""
        with self._draws.own():
            suggestion = self._searcher.suggest(trial_id)
        return suggestion if isinstance(suggestion, dict) else None

    def adopt(self, trial_id: str, raw: Raw) -> None:
        """A configuration that the searcher did not propose."""
        self._known[trial_id] = raw

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """See Ray's Searcher; only TuneBOHB needs to know, others keep what they were given."""
        if isinstance(self._searcher, TuneBOHB):
            return self._searcher.set_max_concurrency(max_concurrent)
        return False

    def on_pause(self, trial_id: str) -> None:
        """See TuneBOHB."""
        self._searcher.on_pause(trial_id)

    def on_unpause(self, trial_id: str) -> None:
        """See TuneBOHB."""
        self._searcher.on_unpause(trial_id)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """See Ray's Searcher."""
        if trial_id not in self._known:
            with self._draws.own():
                self._searcher.on_trial_result(trial_id, result)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """See Ray's Searcher."""
        raw = self._known.pop(trial_id, None)
        with self._draws.own():
            if raw is None:
                self._searcher.on_trial_complete(trial_id, result=result, error=error)
            elif result:
                try:
                    self._searcher.add_evaluated_point(raw, result[SCORE])
                except NotImplementedError:
                    return


class Obeyed(TrialScheduler):
    """A scheduler of Ray's over trainings that end by themselves, which then is not asked."""

    def __init__(self, scheduler: TrialScheduler, horizon: int, seed: int) -> None:
        super().__init__()
        self._scheduler, self._horizon, self._draws = scheduler, horizon, Draws(seed)

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """See Ray's TrialScheduler."""
        with self._draws.own():
            self._scheduler.on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """See Ray's TrialScheduler."""
        if result[TIME] >= self._horizon:
            return self.STOP
        with self._draws.own():
            return self._scheduler.on_trial_result(tune_controller, trial, result)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """See Ray's TrialScheduler."""
        with self._draws.own():
            self._scheduler.on_trial_complete(tune_controller, trial, result)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """See Ray's TrialScheduler."""
        with self._draws.own():
            self._scheduler.on_trial_error(tune_controller, trial)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """See Ray's TrialScheduler."""
        with self._draws.own():
            self._scheduler.on_trial_remove(tune_controller, trial)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:  # type: ignore[override]
        """See Ray's TrialScheduler."""
        with self._draws.own():
            return self._scheduler.choose_trial_to_run(tune_controller)  # type: ignore[return-value]


class Draws:
    """What is drawn from the global generators of numpy and Python, seeded and put back."""

    def __init__(self, seed: int) -> None:
        self._states = np.random.RandomState(seed).get_state(), random.Random(seed).getstate()

    @contextmanager
    def own(self) -> Iterator[None]:
        """The global generators go on where they were when this was left last."""
        before = _states()
        _set(self._states)
        try:
            yield
        finally:
            self._states = _states()
            _set(before)


def _states() -> tuple[Any, Any]:
    return np.random.get_state(), random.getstate()  # noqa: NPY002


def _set(states: tuple[Any, Any]) -> None:
    np.random.set_state(states[0])  # noqa: NPY002
    random.setstate(states[1])
