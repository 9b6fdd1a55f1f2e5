"""One trial of a study, as searches, schedulers and workers see it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ray.tune.experiment import Trial as RayTrial

from carsclf.tuning.space import Raw

SCORE, TIME, RUNG, FIDELITY = "score", "training_iteration", "rung", "fidelity"
"""Names in what searchers and schedulers are told: the score is always maximised."""
FAILED_RESULT = "failed"
"""Marks a result that a failed trial is given in the place of one."""
PENDING, RUNNING, PAUSED = RayTrial.PENDING, RayTrial.RUNNING, RayTrial.PAUSED
FINISHED, FAILED = RayTrial.TERMINATED, RayTrial.ERROR
ENDED = (FINISHED, FAILED)
Role = Literal["incumbent", "start", "search", "final"]
"""Why there is a trial: known before the study began (the configuration it was composed with, and
what `search.start` adds), proposed by the search, or repeated in the final."""


@dataclass(frozen=True)
class Start:
    """A configuration known before the search: its overrides, and its nearest point of the space.

    `outside` says what of it the space does not hold; it is run as it is all the same.
    """

    role: Role
    overrides: list[str]
    raw: Raw
    outside: Sequence[str] = ()
    values: dict[str, Any] | None = None
    """What it sets of the searched keys; None: what its raw values say."""


@dataclass(eq=False)
class Trial:
    """A set of raw values and how far its training has come.

    Carries the attributes Ray's schedulers read from their own trial (``trial_id``, ``status``,
    ``config``, ``last_result``, ``is_saving``, ``is_finished``) and, like it, is keyed by identity.
    """

    number: int
    raw: Raw
    overrides: list[str]
    length: int
    """Epochs after which it ends for sure."""
    fixed: bool
    """Runs all of its length once started."""
    role: Role = "search"
    values: dict[str, Any] | None = None
    """Of a known one, which the space may not hold: its true values."""
    repeats: int | None = None
    """In the final: number of the trial whose configuration this is."""
    seed: int | None = None
    """In the final: counted from the study's own."""
    status: str = PENDING
    epoch: int = 0
    """Finished epochs."""
    best: float | None = None
    last: float | None = None
    seconds: float = 0.0
    failures: int = 0
    error: str | None = None
    ended: str = ""
    """Who ended it, in a few words."""
    result: dict[str, Any] = field(default_factory=dict)
    is_saving: bool = False

    @property
    def trial_id(self) -> str:
        """Sorts like the number and names the run folder."""
        return f"{self.number:04d}"

    @property
    def rank(self) -> tuple[float, int, int]:
        """Sorts by the best score, then the longest, then the first."""
        return -math.inf if self.best is None else self.best, self.epoch, -self.number

    @property
    def evaluated_params(self) -> dict[str, Any]:
        """What Ray calls the searched values."""
        return self.raw

    config = evaluated_params

    @property
    def last_result(self) -> dict[str, Any]:
        """As the scheduler got it; empty before the first epoch."""
        return self.result

    def is_finished(self) -> bool:
        """Whether it ended, well or not."""
        return self.status in ENDED

    @property
    def committed(self) -> int:
        """Epochs it is sure to run from here when a worker has it."""
        return self.length - self.epoch if self.fixed else 1


def length(fidelity: float, horizon: int) -> int:
    """Epochs of a training of that fidelity, rounded up as published (4 / 18 / 35)."""
    return math.ceil(fidelity * horizon - 1e-9)
