"""Random search: the yardstick of the others."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from carsclf.tuning.search.base import Search
from carsclf.tuning.space import Raw, Space
from carsclf.tuning.trial import SCORE


@dataclass(frozen=True, kw_only=True)
class Random(Search):
    """Full-length trainings drawn at random: the yardstick."""

    fixed = True

    def build(self, space: Space, horizon: int, known: Raw | None) -> tuple[Any, TrialScheduler]:
        """See Search."""
        return Uniform(space, self.seed), FIFOScheduler()

    def least(self, horizon: int) -> int:
        """See Search."""
        return horizon


class Uniform(Searcher):
    """Independent uniform draws."""

    left = math.inf

    def __init__(self, space: Space, seed: int) -> None:
        super().__init__(metric=SCORE, mode="max")
        self._space, self._seed = space, seed
        self._asked: set[str] = set()

    def suggest(self, trial_id: str) -> Raw:
        """See Ray's Searcher."""
        generator = np.random.default_rng([self._seed, len(self._asked)])
        self._asked.add(trial_id)
        return self._space.from_unit(generator.random((1, len(self._space))))[0]

    def adopt(self, trial_id: str, raw: Raw) -> None:
        """Takes a given proposal instead of its own."""
        self._asked.add(trial_id)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """See Ray's Searcher."""
