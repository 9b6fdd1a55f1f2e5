"""A share of a search's proposals drawn around what was known before it began."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ray.tune.search import Searcher

from carsclf.tuning.space import Raw, Space
from carsclf.tuning.trial import SCORE

SPREAD = 0.25
"""Deviation of a range around the known value, in shares of the range: NePS' medium confidence."""
KEPT = 0.5
"""Chance of a choice to stay as it is known."""


class AroundKnown(Searcher):
    """Another searcher, a share of whose proposals are drawn around a known configuration.

    As in PriorBand (Mallik et al. 2023, arXiv:2306.12370), which mixes draws around a default with
    others; here the share is fixed, and the other searcher learns from all of them.
    """

    def __init__(self, searcher: Any, space: Space, known: Raw, share: float, seed: int) -> None:
        super().__init__(metric=SCORE, mode="max")
        self._searcher, self._space, self._share, self._seed = searcher, space, share, seed
        self._centre = space.to_unit([known])[0]
        self._asked: set[str] = set()
        self.left = math.inf

    def suggest(self, trial_id: str) -> Raw | None:
        """See Ray's Searcher."""
        generator = np.random.default_rng([self._seed, len(self._asked), 1])
        self._searcher.left = self.left
        suggestion = self._searcher.suggest(trial_id)
        if suggestion is None:
            return None
        self._asked.add(trial_id)
        if generator.random() < self._share:
            drawn = self._space.from_unit(around(generator, self._space, self._centre, 1))[0]
            suggestion = {**suggestion, **drawn}
            self._searcher.adopt(trial_id, suggestion)
        return suggestion

    def adopt(self, trial_id: str, raw: Raw) -> None:
        """Takes a given proposal instead of its own."""
        self._asked.add(trial_id)
        self._searcher.adopt(trial_id, raw)

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """See Ray's Searcher."""
        return self._searcher.set_max_concurrency(max_concurrent)

    def on_pause(self, trial_id: str) -> None:
        """See TuneBOHB."""
        self._searcher.on_pause(trial_id)

    def on_unpause(self, trial_id: str) -> None:
        """See TuneBOHB."""
        self._searcher.on_unpause(trial_id)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """See Ray's Searcher."""
        self._searcher.on_trial_result(trial_id, result)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """See Ray's Searcher."""
        self._searcher.on_trial_complete(trial_id, result=result, error=error)


def around(
    generator: np.random.Generator, space: Space, centre: NDArray[np.float64], count: int
) -> NDArray[np.float64]:
    """(count, d) points of the unit cube around one: normal for ranges, kept or redrawn choices."""
    shape = (count, len(space))
    moved = np.clip(centre + SPREAD * generator.standard_normal(shape), 0.0, 1.0)
    redrawn = np.where(generator.random(shape) < KEPT, centre, generator.random(shape))
    return np.where([bool(p.choices) for p in space], redrawn, moved)
