"""What the searches ask for the next configuration, each a Ray Tune searcher.

Every proposal draws from a generator seeded by (seed, number of the proposal) alone. A proposal is
then a function of the results known so far, and a resumed study adopts the logged ones without
computing them again.
"""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import optuna
from ray.tune.search import Searcher
from ray.tune.search.bohb import TuneBOHB
from ray.tune.search.optuna import OptunaSearch

from carsclf.tuning.space import Raw, Space
from carsclf.tuning.trial import SCORE

STARTUP, EXPLORE = 20, 1 / 3
"""TPE: random proposals before the first model, and their share later (BOHB's own is 1/3 too).

Optuna's defaults (10, 0) never reach random search's median on 4 of 7 recorded tables, because TPE
settles on the best of a few noisy rungs; with these the worst table is 2.6 times faster.
"""


class Uniform(Searcher):
    """Independent uniform draws."""

    left = math.inf

    def __init__(self, space: Space, seed: int) -> None:
        super().__init__(metric=SCORE, mode="max")
        self._space, self._seed, self._count = space, seed, 0

    def suggest(self, trial_id: str) -> Raw:
        """See Ray's Searcher."""
        generator = np.random.default_rng([self._seed, self._count])
        self._count += 1
        return self._space.from_unit(generator.random((1, len(self._space))))[0]

    def adopt(self, trial_id: str, raw: Raw, fidelity: float) -> None:
        """Takes a logged proposal instead of making one."""
        self._count += 1

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """See Ray's Searcher."""


class Tpe(OptunaSearch):
    """Ray's Optuna searcher with a sampler seeded per proposal."""

    left = math.inf

    def __init__(self, space: Space, seed: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._base, self._count = seed, 0
        super().__init__(
            self.convert_search_space(space.domains), SCORE, "max", sampler=self._fresh()
        )

    def suggest(self, trial_id: str) -> Raw:
        """See Ray's Searcher."""
        study: Any = self._ot_study
        study.sampler = self._fresh()
        self._count += 1
        return dict(super().suggest(trial_id) or {})

    def adopt(self, trial_id: str, raw: Raw, fidelity: float) -> None:
        """Takes a logged proposal instead of making one."""
        study: Any = self._ot_study
        study.enqueue_trial(raw)
        self.suggest(trial_id)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """See Ray's Searcher."""

    def _fresh(self) -> optuna.samplers.BaseSampler:
        seed = _mix(self._base, self._count)
        if np.random.default_rng(seed).random() < EXPLORE:
            return optuna.samplers.RandomSampler(seed=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.samplers.TPESampler(
                seed=seed, n_startup_trials=STARTUP, multivariate=True, constant_liar=True
            )


class Density(TuneBOHB):
    """Ray's BOHB searcher: seeded per proposal, and told of trials that end at the top rung.

    hpbandster draws from numpy's global generator, which is put back afterwards.
    """

    left = math.inf
    _space: Any

    def __init__(self, space: Space, seed: int) -> None:
        super().__init__(self.convert_search_space(space.domains), metric=SCORE, mode="max")
        self._base, self._count = seed, 0

    def suggest(self, trial_id: str) -> Raw | None:
        """See Ray's Searcher."""
        seed, space, before = _mix(self._base, self._count), self._space, np.random.get_state()  # noqa: NPY002
        np.random.seed(seed)  # noqa: NPY002
        space.seed(seed)
        try:
            with _quietly():
                raw = super().suggest(trial_id)
        finally:
            np.random.set_state(before)  # noqa: NPY002
        self._count += raw is not None
        return raw

    def adopt(self, trial_id: str, raw: Raw, fidelity: float) -> None:
        """Takes a logged proposal instead of making one."""
        self._count += 1
        self.trial_to_params[trial_id] = dict(raw)
        self.running.add(trial_id)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """See Ray's Searcher."""
        with _quietly():
            super().on_trial_result(trial_id, result)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """See Ray's Searcher; Ray drops the result of a trial that its scheduler stops."""
        if result and "budget" in result.get("hyperband_info", {}):
            with _quietly():
                self.bohber.new_result(self.to_wrapper(trial_id, result))
        super().on_trial_complete(trial_id, result, error)


@contextmanager
def _quietly() -> Iterator[None]:
    """hpbandster calls a ConfigSpace of ten years ago, and says so at every proposal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _mix(seed: int, count: int) -> int:
    """A 32-bit seed for the count-th draw."""
    return int(np.random.SeedSequence([seed, count]).generate_state(1)[0])
