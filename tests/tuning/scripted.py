"""Studies whose trials come out as a test wrote down for them: one worker, no training."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from carsclf.tuning.search.base import Search
from carsclf.tuning.space import Parameter, Space
from carsclf.tuning.study.controller import Controller
from carsclf.tuning.study.journal import Journal
from carsclf.tuning.study.plan import Plan
from carsclf.tuning.study.records import StudyFolder, StudySummary
from carsclf.tuning.study.study import Study
from carsclf.tuning.study.tables import write_study
from carsclf.tuning.trial import Start, Trial
from carsclf.tuning.workers.protocol import Epoch, Event, Failure

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
        self.epochs = 0

    @property
    def free(self) -> int:
        return 0 if self.at_work else 1

    @property
    def now(self) -> float:
        return float(self.epochs)

    def start(self, trial: Trial) -> None:
        self.busy, self.at_work = {trial}, True

    def go_on(self, trial: Trial) -> None:
        self.start(trial)

    def halt(self, trial: Trial) -> None:
        self.busy, self.at_work = set(), False

    def keep(self, count: float) -> None:
        self.kept = count

    def next(self, timeout: float) -> Event | None:
        if not self.at_work:
            return None
        (trial,) = self.busy
        came = self.outcomes[trial.number]
        if isinstance(came, Sequence):
            came = came[min(trial.epoch, len(came) - 1)]
        if isinstance(came, Failure):
            self.halt(trial)
            return Event(trial, failure=came)
        self.trained(trial)
        self.epochs += 1
        return Event(trial, epoch=Epoch(trial.epoch + 1, {METRIC: came}, 1.0))


def make_study(
    root: Path, search: Search, horizon: int, sign: int = 1, starts: Sequence[Start] = ()
) -> Study:
    folder = StudyFolder(root)
    journal = Journal(folder.events)
    controller = Controller(search, SPACE, horizon, journal.record, starts)
    return Study(journal, controller, METRIC, sign, folder)


def run_study(
    root: Path,
    search: Search,
    horizon: int,
    outcomes: Sequence[Outcome],
    *,
    sign: int = 1,
    starts: Sequence[Start] = (),
    trained: Callable[[Trial], None] = lambda _: None,
) -> Study:
    """The finished study."""
    study = make_study(root, search, horizon, sign, starts)
    study.run(Scripted(outcomes, trained), lambda: None)
    study.journal.close()
    return study


def epochs(study: Study) -> list[int]:
    """Finished epochs of each trial."""
    return [trial.epoch for trial in study.controller.trials]


def make_plan(study: Study) -> Plan:
    """Of a study that needs no configuration, as if its trials were recorded ones."""
    assert study.folder is not None
    controller, nothing = study.controller, cast("Any", None)
    return Plan(
        *(nothing, study.folder, controller.search, SPACE, [], controller.horizon),
        *(cast("Any", "recorded"), METRIC, study.sign),
    )


def written(study: Study) -> tuple[StudySummary, pd.DataFrame, pd.DataFrame]:
    """What a finished study writes: summary, trials, curves."""
    assert study.folder is not None
    told = write_study(study, make_plan(study), finished=True)
    assert StudySummary.read(study.folder.summary) == told
    return told, pd.read_parquet(study.folder.trials), pd.read_parquet(study.folder.curves)


def make_table_file(folder: Path) -> Path:
    """A small recorded table on disk, for studies of recorded trainings."""
    generator, path = np.random.default_rng(0), folder / "table.npz"
    np.savez(
        path,
        params=generator.random((40, 2)).round(3),
        names=np.array(["lr", "momentum"]),
        log=np.array([False, False]),
        accuracy=generator.random((40, 27)).astype(np.float32),
        cost=np.ones(40),
    )
    return path
