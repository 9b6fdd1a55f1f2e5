"""ASHA: successive halving without waiting, on proposals of Optuna's TPE."""

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState
from ray.tune.schedulers import ASHAScheduler, TrialScheduler
from ray.tune.search import Searcher

from carsclf.tuning.search.base import Search, check_rungs, mixed
from carsclf.tuning.search.memory import remembered
from carsclf.tuning.space import Parameter, Raw, Space
from carsclf.tuning.trial import SCORE, TIME

STARTUP, EXPLORE = 20, 1 / 3
"""TPE: random proposals before the first model, and their share later (BOHB's own is 1/3 too).

Optuna's defaults (10, 0) never reach random search's median on 4 of 7 recorded tables, because TPE
settles on the best of a few noisy rungs; with these the worst table is 2.6 times faster.
"""
MOST, MORE = 300, 100
"""Ended trials that TPE learns from, and how many more there are before it forgets those."""


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
        check_rungs(self.grace, self.reduction)

    def build(self, space: Space, horizon: int, known: Raw | None) -> tuple[Any, TrialScheduler]:
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

    def why(self, epoch: int, horizon: int) -> str:
        """See Search."""
        return f"rung at epoch {epoch}: not among the best 1/{self.reduction:g} so far"


class Tpe(Searcher):
    """Optuna's tree-structured Parzen estimator, with a sampler seeded per proposal."""

    left = math.inf

    def __init__(self, space: Space, seed: int) -> None:
        super().__init__(metric=SCORE, mode="max")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._seed, self._ranges = seed, {p.name: _distribution(p) for p in space}
        self._asked: set[str] = set()
        self._open: dict[str, int] = {}
        """Number in the study of Optuna's of each trial that has not ended."""
        self._ended = 0
        """Trials of that study that have."""
        self._study = self._begun()

    def suggest(self, trial_id: str) -> Raw:
        """See Ray's Searcher."""
        self._study.sampler = self._fresh()
        trial = self._study.ask(self._ranges)
        self._asked.add(trial_id)
        self._open[trial_id] = trial.number
        return dict(trial.params)

    def adopt(self, trial_id: str, raw: Raw) -> None:
        """Takes a given proposal instead of its own."""
        if trial_id in self._open:
            self._study.tell(self._open[trial_id], state=TrialState.FAIL)
        self._study.enqueue_trial({key: raw[key] for key in self._ranges})
        self.suggest(trial_id)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """See Ray's Searcher."""

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """See Ray's Searcher."""
        number = self._open.pop(trial_id)
        if result:
            self._study.tell(number, result[SCORE])
        else:
            self._study.tell(number, state=TrialState.FAIL if error else TrialState.PRUNED)
        self._ended += 1
        if self._ended > MOST + MORE:
            self._forget()

    def _forget(self) -> None:
        """Begins a study of Optuna's with what is to be remembered and what has not ended."""
        before = self._study.get_trials(deepcopy=False)
        ended = [t for t in before if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]
        scores = [t.value if t.value is not None else -math.inf for t in ended]
        self._study = self._begun()
        self._study.add_trials([ended[i] for i in remembered(scores, MOST)])
        self._ended = len(self._study.get_trials(deepcopy=False))
        for place, (trial_id, number) in enumerate(self._open.items(), start=self._ended):
            self._study.add_trial(before[number])
            self._open[trial_id] = place

    def _begun(self) -> optuna.Study:
        return optuna.create_study(direction="maximize", sampler=self._fresh())

    def _fresh(self) -> optuna.samplers.BaseSampler:
        seed = mixed(self._seed, len(self._asked))
        if np.random.default_rng(seed).random() < EXPLORE:
            return optuna.samplers.RandomSampler(seed=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.samplers.TPESampler(
                seed=seed, n_startup_trials=STARTUP, multivariate=True, constant_liar=True
            )


def _distribution(parameter: Parameter) -> BaseDistribution:
    if parameter.choices:
        return CategoricalDistribution(list(range(len(parameter.choices))))
    if parameter.integer:
        return IntDistribution(int(parameter.low), int(parameter.high), log=parameter.log)
    return FloatDistribution(parameter.low, parameter.high, log=parameter.log)
