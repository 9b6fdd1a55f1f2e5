"""BOHB: HyperBand's brackets on density-ratio proposals."""

import importlib.util
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from ray.tune.schedulers import HyperBandForBOHB, TrialScheduler
from ray.tune.search.bohb import TuneBOHB

from carsclf.errors import ConfigError
from carsclf.tuning.search.base import Search, above_one, mixed
from carsclf.tuning.search.memory import remembered
from carsclf.tuning.space import Raw, Space
from carsclf.tuning.trial import FIDELITY, RUNG, SCORE, TIME, Trial

MOST = 200
"""Results at each rung that the densities are of."""


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
        above_one(self.reduction)

    def build(self, space: Space, horizon: int, known: Raw | None) -> tuple[Any, TrialScheduler]:
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

    def outside(self, result: dict[str, Any]) -> dict[str, Any]:
        """See Search; hpbandster learns per budget, here the largest."""
        return {**result, "hyperband_info": {"budget": self._top}}

    def missed(
        self, scheduler: TrialScheduler, trial: Trial, result: dict[str, Any]
    ) -> dict[str, Any]:
        """See Search; hpbandster learns per rung: the one that the trial did not reach."""
        bracket, _ = scheduler._trial_info[trial]  # type: ignore[attr-defined]
        return {**result, "hyperband_info": {"budget": bracket._cumul_r}}

    def why(self, epoch: int, horizon: int) -> str:
        """See Search."""
        return f"bracket at epoch {epoch}: not among the best 1/{self.reduction:g}"

    def clock(self, epoch: int, horizon: int) -> dict[str, float]:
        """See Search."""
        return {TIME: epoch, RUNG: epoch / horizon * self._top}

    @property
    def _top(self) -> int:
        return round(self.reduction ** (self.rungs - 1))


class Density(TuneBOHB):
    """Ray's BOHB searcher: seeded per proposal, and told of trials that end at the top rung.

    hpbandster draws from numpy's global generator, which is put back afterwards.
    """

    left = math.inf

    def __init__(self, space: Space, seed: int) -> None:
        self._ranges = self.convert_search_space(space.domains)
        super().__init__(self._ranges, metric=SCORE, mode="max")
        self._base, self._asked = seed, set[str]()

    def suggest(self, trial_id: str) -> Raw | None:
        """See Ray's Searcher."""
        seed = mixed(self._base, len(self._asked))
        before = np.random.get_state()  # noqa: NPY002
        np.random.seed(seed)  # noqa: NPY002
        self._ranges.seed(seed)
        try:
            with _quietly():
                raw = super().suggest(trial_id)
        finally:
            np.random.set_state(before)  # noqa: NPY002
        if raw is not None:
            self._asked.add(trial_id)
        return raw

    def adopt(self, trial_id: str, raw: Raw) -> None:
        """Takes a given proposal instead of its own."""
        self._asked.add(trial_id)
        inside = {k: self._inside(k, v) for k, v in raw.items() if k != FIDELITY}
        self.trial_to_params[trial_id] = inside
        self.running.add(trial_id)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """See Ray's Searcher, which complains of trials that its scheduler does not see."""
        if "hyperband_info" in result:
            with _quietly():
                super().on_trial_result(trial_id, result)
            self._forget(result)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """See Ray's Searcher; Ray drops the result of a trial that its scheduler stops."""
        if result and "budget" in result.get("hyperband_info", {}):
            with _quietly():
                self.bohber.new_result(self.to_wrapper(trial_id, result))
            self._forget(result)
        super().on_trial_complete(trial_id, result, error)

    def _inside(self, name: str, value: Any) -> Any:
        """ConfigSpace rounds the ends of ranges to 13 digits, and refuses what lies beyond."""
        known: Any = self._ranges[name]
        return min(max(value, known.lower), known.upper) if hasattr(known, "lower") else value

    def _forget(self, result: dict[str, Any]) -> None:
        budget = result.get("hyperband_info", {}).get("budget")
        losses = self.bohber.losses.get(budget, [])
        if len(losses) > MOST:
            kept = remembered([-loss for loss in losses], MOST)
            for of in (self.bohber.configs, self.bohber.losses):
                of[budget] = [of[budget][i] for i in kept]


@contextmanager
def _quietly() -> Iterator[None]:
    """hpbandster calls a ConfigSpace of ten years ago, and says so at every proposal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
