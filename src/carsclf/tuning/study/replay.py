"""A whole study on recorded learning curves, in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from carsclf.tuning.search.base import Search
from carsclf.tuning.study.controller import Controller
from carsclf.tuning.study.deadline import Deadline
from carsclf.tuning.study.journal import Journal
from carsclf.tuning.study.study import Study
from carsclf.tuning.trial import Start
from carsclf.tuning.workers.recorded import RecordedWorkers, Table

METRIC = "accuracy"


@dataclass(frozen=True)
class Curve:
    """What a simulated study had seen after each epoch, in order of time."""

    spent: NDArray[np.float64]
    """Epochs finished so far, in full trainings."""
    time: NDArray[np.float64]
    """Simulated clock, in mean full trainings."""
    best: NDArray[np.float64]
    """Best accuracy so far at any fidelity."""


def replay(
    search: Search,
    table: Table,
    *,
    workers: int = 1,
    starts: Sequence[Start] = (),
    distinct: bool = False,
) -> tuple[Study, Curve]:
    """Runs a study to its end."""
    recorded = RecordedWorkers(table, workers, METRIC, distinct=distinct)
    journal = Journal(None)
    if recorded.answered is not None:
        starts = [replace(start, raw=recorded.answered(start.raw)) for start in starts]
    controller = Controller(
        search, table.space, table.horizon, journal.record, starts, recorded.answered
    )
    deadline = None
    if search.hours is not None:
        deadline = Deadline(search.hours, search.final, lambda _: None)
    study = Study(journal, controller, METRIC, 1, deadline=deadline)
    clock: list[float] = []
    told = lambda: clock.extend([recorded.now / 3600] * (controller.epochs - len(clock)))  # noqa: E731
    study.run(recorded, told)
    scores = [e["metrics"][METRIC] for e in journal.events if e["kind"] == "result"]
    spent = np.arange(1, len(scores) + 1) / table.horizon
    return study, Curve(spent, np.array(clock), np.maximum.accumulate(scores))
