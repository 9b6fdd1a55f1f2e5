"""Time as a budget: how many trainings the hours of a study hold, and when its search must end."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from carsclf.errors import ConfigError
from carsclf.tuning.study.controller import Controller
from carsclf.tuning.study.final import final_size


@dataclass
class Deadline:
    """Hours, the share of them that the final gets, and how to say what they hold."""

    hours: float
    share: float
    say: Callable[[str], None]
    _said: bool = False

    def final(self, controller: Controller, passed: float, workers: int) -> float | None:
        """Full trainings of the final, once ``passed`` seconds leave time for nothing else.

        A training takes what finished epochs took on average, and goes on to. None: the search has
        time left, or nothing is known yet. Raises ConfigError once it is known that the hours hold
        no training.
        """
        if not controller.epochs or not workers:
            return None
        epoch = max(controller.seconds, 1e-9) / controller.epochs
        training, seconds = epoch * controller.horizon, self.hours * 3600
        rounds = math.floor(self.share * seconds / training + 1e-9)
        trainings = rounds * workers
        if self.share and trainings < 2:
            trainings, rounds = 2, math.ceil(2 / workers)
        if not self.share:
            trainings = rounds = 0
        if not self._said:
            self._check(training, rounds, controller.horizon)
            self._tell(training, trainings, rounds, workers)
            self._said = True
        return trainings if passed + epoch >= seconds - rounds * training else None

    def _check(self, training: float, rounds: int, horizon: int) -> None:
        needed = (1 + rounds) * training / 3600
        if needed > self.hours:
            raise ConfigError(
                f"search.hours={self.hours:g}: one full training of {horizon} epochs takes about "
                f"{training / 3600:.2g} h here, so that the incumbent and the final need "
                f"{needed:.2g} h; give at least as many, or set search.final=0"
            )

    def _tell(self, training: float, trainings: int, rounds: int, workers: int) -> None:
        search = (self.hours * 3600 - rounds * training) * workers / training
        candidates, seeds = final_size(trainings)
        final = f"{candidates + 1} configurations over {seeds} seeds" if candidates else "none"
        self.say(
            f"a full training takes about {training:.0f} s: {self.hours:g} h hold about "
            f"{search:.1f} of them for the search on {workers} workers; final: {final}"
        )
