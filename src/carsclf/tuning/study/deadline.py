"""Time as a budget: how many trainings the hours of a study hold, and when its search must end."""

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass

from carsclf.errors import ConfigError
from carsclf.tuning.study.controller import Controller
from carsclf.tuning.study.final import final_size, pairs
from carsclf.tuning.trial import Trial


class TooFewHours(ConfigError):
    """The hours of a study hold no training."""


@dataclass
class Deadline:
    """Hours, the share of them that the final gets, and how to say what they hold."""

    hours: float
    share: float
    say: Callable[[str], None]
    begun: bool = False
    """In an earlier sitting: what the hours hold is known then, and they are not refused."""
    _beside: float = 0.0
    _stints: int = 0
    _quickest: float = math.inf
    """Seconds of an epoch: the first ones of a process take longer."""
    _seen: tuple[float, int] = (0.0, 0)
    _said: bool = False

    def beside(self, seconds: float) -> None:
        """What a worker spent on a trial beside its epochs: setting it up, writing its files."""
        self._beside += seconds
        self._stints += 1

    def trainings(self, controller: Controller, passed: float, workers: int) -> float | None:
        """Full trainings of the final; None: too little is known yet.

        Raises TooFewHours once it is known that the hours hold no training.
        """
        if not controller.epochs or not workers:
            return None
        self._look(controller)
        longest = max(t.epoch for t in controller.trials)
        if longest < min(2, controller.horizon) and passed < self.hours * 3600:
            return None
        trainings = self._share(self._training(controller), workers)
        if not self._said:
            if not self.begun:
                self._check(controller, workers)
            self._tell(controller, trainings, workers)
            self._said = True
        return trainings

    def due(self, controller: Controller, trainings: float, passed: float, workers: int) -> bool:
        """Whether the time left is what the epochs that run and such a final take."""
        epoch = self._training(controller) / controller.horizon
        ahead = max((t.seconds / t.epoch for t in controller.running if t.epoch), default=epoch)
        return passed + ahead >= self.hours * 3600 - self._final(controller, trainings, workers)

    def _share(self, training: float, workers: int) -> float:
        if not self.share:
            return 0.0
        rounds = math.floor(self.share * self.hours * 3600 / training + 1e-9)
        return max(2, rounds * workers)

    def _look(self, controller: Controller) -> None:
        spent, epochs = controller.seconds, controller.epochs
        before, known = self._seen
        if epochs > known:
            self._quickest = min(self._quickest, (spent - before) / (epochs - known))
        self._seen = spent, epochs

    @property
    def _extra(self) -> float:
        return self._beside / max(1, self._stints)

    def _training(self, controller: Controller) -> float:
        """Seconds of a full training, from what finished epochs took on average."""
        return max(controller.seconds, 1e-9) / controller.epochs * controller.horizon + self._extra

    def _final(self, controller: Controller, trainings: float, workers: int) -> float:
        """Seconds of a final of those that are best now, each at its own pace."""
        chosen = [of for of, _ in pairs(controller.ranked(), controller.incumbent, trainings)]
        if not chosen:
            return math.ceil(trainings / workers) * self._training(controller)
        return makespan([self._alone(of, controller.horizon) for of in chosen], workers)

    def _alone(self, trial: Trial, horizon: int) -> float:
        return trial.seconds / trial.epoch * horizon + self._extra

    def _check(self, controller: Controller, workers: int) -> None:
        training = self._quickest * controller.horizon
        rounds = math.ceil(self._share(training, workers) / workers)
        needed = (1 + rounds) * training / 3600
        if needed <= self.hours:
            return
        final = " and a final of at least 2 trainings" if rounds else ""
        instead = ", or set search.final=0" if rounds and training / 3600 <= self.hours else ""
        raise TooFewHours(
            f"search.hours={self.hours:g}: one full training of {controller.horizon} epochs takes "
            f"about {training / 3600:.2g} h here, and the known configuration{final} need "
            f"{needed:.2g} h: give at least twice that{instead}"
        )

    def _tell(self, controller: Controller, trainings: float, workers: int) -> None:
        training = self._training(controller)
        rounds = math.ceil(trainings / workers)
        search = (self.hours * 3600 - rounds * training) * workers / training
        candidates, seeds = final_size(trainings)
        final = f"{candidates + 1} configurations over {seeds} seeds" if candidates else "none"
        self.say(
            f"a full training takes about {training:.3g} s: {self.hours:g} h hold about "
            f"{search:.1f} of them for the search on {workers} workers; final: {final}"
        )


def makespan(seconds: list[float], workers: int) -> float:
    """When the last of several trainings ends that free workers take in this order."""
    ends = [0.0] * workers
    for each in seconds:
        heapq.heapreplace(ends, ends[0] + each)
    return max(ends)
