"""What a study and its workers say to each other."""

from dataclasses import dataclass
from typing import Any, Protocol

from carsclf.tuning.trial import Trial


@dataclass(frozen=True)
class Job:
    """A trial to take up after the epochs the study already knows of."""

    config: dict[str, Any]
    folder: str
    epoch: int


@dataclass(frozen=True)
class Epoch:
    """A finished epoch."""

    epoch: int
    metrics: dict[str, float]
    seconds: float


@dataclass(frozen=True)
class Failure:
    """A training that ended by itself."""

    error: str
    final: bool
    """It would do so again."""
    stop: bool = False
    """So would every other one: a full disk, say."""


@dataclass(frozen=True)
class Event:
    """Something came back: an epoch, a failure, or (neither) a halted trial's worker."""

    trial: Trial
    epoch: Epoch | None = None
    failure: Failure | None = None
    lost: bool = False
    """Its machine died."""


class Workers(Protocol):
    """What a study needs of real and of simulated workers."""

    @property
    def now(self) -> float:
        """Seconds on these workers' clock."""
        ...

    @property
    def free(self) -> int:
        """Workers that are up and have nothing to do."""
        ...

    @property
    def busy(self) -> set[Trial]:
        """Trials some worker has, halting ones included."""
        ...

    def start(self, trial: Trial) -> None:
        """Gives a trial to a free worker."""
        ...

    def go_on(self, trial: Trial) -> None:
        """One more epoch of a trial a worker has."""
        ...

    def halt(self, trial: Trial) -> None:
        """No more epochs; the worker is free when its files are written."""
        ...

    def keep(self, count: float) -> None:
        """No more trials than this will run at once; workers beyond may be let go."""
        ...

    def next(self, timeout: float) -> Event | None:
        """What happened next; None: nothing of note within these seconds."""
        ...
