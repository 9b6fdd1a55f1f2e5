"""Studies whose trials come out as a test wrote down for them: one worker, no training."""

from collections.abc import Callable, Sequence
from pathlib import Path

from carsclf.tuning.crew import Happened
from carsclf.tuning.journal import Journal
from carsclf.tuning.loop import Loop
from carsclf.tuning.records import StudyFolder
from carsclf.tuning.search import Search
from carsclf.tuning.space import Parameter, Space
from carsclf.tuning.study import Study
from carsclf.tuning.trial import Trial
from carsclf.tuning.worker import Epoch, Failure

METRIC = "val/top1"
SPACE = Space([Parameter("optimizer.lr", 1e-4, 1.0, log=True), Parameter("optimizer.momentum")])
Outcome = float | Failure | Sequence[float | Failure]
"""Of a trial: a value at every epoch, or one after the other; the last one stays."""


class Scripted:
    """The one worker; `trained(trial)` is called after each epoch."""

    def __init__(self, outcomes: Sequence[Outcome], trained: Callable[[Trial], None]) -> None:
        self.outcomes, self.trained = outcomes, trained
        self.busy: set[Trial] = set()
        self.at_work = False

    @property
    def free(self) -> int:
        return 0 if self.at_work else 1

    def start(self, trial: Trial) -> None:
        self.busy, self.at_work = {trial}, True

    def go_on(self, trial: Trial) -> None:
        self.start(trial)

    def halt(self, trial: Trial) -> None:
        self.busy, self.at_work = set(), False

    def next(self, timeout: float) -> Happened | None:
        if not self.at_work:
            return None
        (trial,) = self.busy
        came = self.outcomes[trial.number]
        if isinstance(came, Sequence):
            came = came[min(trial.epoch, len(came) - 1)]
        if isinstance(came, Failure):
            self.halt(trial)
            return Happened(trial, failure=came)
        self.trained(trial)
        return Happened(trial, epoch=Epoch(trial.epoch + 1, {METRIC: came}, 1.0))


def make_study(root: Path, search: Search, horizon: int, sign: int = 1) -> Study:
    folder = StudyFolder(root)
    journal = Journal(folder.events)
    return Study(folder, journal, Loop(search, SPACE, horizon, journal.record), METRIC, sign)


def run_study(
    root: Path,
    search: Search,
    horizon: int,
    outcomes: Sequence[Outcome],
    *,
    sign: int = 1,
    trained: Callable[[Trial], None] = lambda _: None,
) -> Study:
    """The finished study."""
    study = make_study(root, search, horizon, sign)
    study.run(Scripted(outcomes, trained), lambda: None)
    study.journal.close()
    return study


def epochs(study: Study) -> list[int]:
    """Finished epochs of each trial."""
    return [trial.epoch for trial in study.loop.trials]
