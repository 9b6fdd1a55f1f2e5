"""Multitask Bayesian optimisation: the published method."""

from dataclasses import dataclass
from typing import Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from carsclf.errors import ConfigError
from carsclf.tuning.search.base import Search
from carsclf.tuning.search.gaussian_process import GaussianProcess
from carsclf.tuning.space import Raw, Space
from carsclf.tuning.trial import length


@dataclass(frozen=True, kw_only=True)
class Multitask(Search):
    """The published method: a Gaussian process chooses configuration and length of fresh runs.

    A short run has a schedule of its own length: cut short, a cosine or one-cycle schedule ranks
    configurations badly, and no run is continued, so nothing calls for a common schedule.
    """

    fidelities: tuple[float, ...]
    fixed = True
    shortened = "complete"

    def __post_init__(self) -> None:
        """Raises ConfigError unless the fidelities increase up to 1."""
        super().__post_init__()
        steps = tuple(self.fidelities)
        if list(steps) != sorted(set(steps)) or not steps or steps[0] <= 0 or steps[-1] != 1:
            raise ConfigError(
                f"search.fidelities={list(steps)}: expected increasing shares of a full training "
                "that end at 1, for example [0.1, 0.5, 1.0]"
            )

    def build(self, space: Space, horizon: int, known: Raw | None) -> tuple[Any, TrialScheduler]:
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
