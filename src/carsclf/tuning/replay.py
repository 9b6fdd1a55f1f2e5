"""Searching recorded learning curves: simulated workers and a simulated clock."""

import heapq
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from carsclf.errors import DataError
from carsclf.tuning.loop import CONTINUE, Loop, Record
from carsclf.tuning.search import Search
from carsclf.tuning.space import Parameter, Raw, Space
from carsclf.tuning.trial import SCORE, Trial

COLUMNS = ("params", "names", "log", "accuracy", "cost")


class Table:
    """Recorded trainings: hyperparameters (n, d), accuracy per epoch (n, T), cost (n,).

    Cost is that of one full training relative to the mean. A proposal is answered with the nearest
    recorded configuration, by distance in the unit cube.
    """

    def __init__(self, columns: dict[str, NDArray[Any]]) -> None:
        self.accuracy, self.cost = columns["accuracy"], columns["cost"]
        self.space = Space(
            [
                _parameter(str(name), values, bool(log))
                for name, values, log in zip(
                    columns["names"], columns["params"].T, columns["log"], strict=True
                )
            ]
        )
        raws = [
            dict(zip((p.key for p in self.space), row, strict=True)) for row in columns["params"]
        ]
        self._tree = KDTree(self.space.to_unit(raws))

    @classmethod
    def read(cls, path: Path) -> "Table":
        """Reads an .npz file; raises DataError naming what is missing."""
        try:
            with np.load(path, allow_pickle=False) as file:
                missing = [name for name in COLUMNS if name not in file]
                if missing:
                    raise DataError(f"{path}: expected arrays {COLUMNS}, missing {missing}")
                return cls({name: file[name] for name in COLUMNS})
        except (OSError, ValueError) as error:
            raise DataError(f"{path} is not a readable .npz table of curves: {error}") from error

    @property
    def horizon(self) -> int:
        """Epochs of a full training."""
        return self.accuracy.shape[1]

    def row(self, raw: Raw) -> int:
        """The nearest recorded configuration."""
        return int(self._tree.query(self.space.to_unit([raw])[0])[1])


def _parameter(name: str, values: NDArray[np.float64], log: bool) -> Parameter:
    whole = not log and bool(np.all(values == np.rint(values)))
    return Parameter(name, float(values.min()), float(values.max()), log=log, integer=whole)


class SimulatedWorkers:
    """Any number of workers that take a recorded training's time without spending it."""

    def __init__(self, table: Table, count: int) -> None:
        self._table, self._count, self._order = table, count, 0
        self._due: list[tuple[float, int, Trial]] = []
        self._rows: dict[Trial, int] = {}
        self.now = 0.0
        """Simulated time in mean full trainings."""

    @property
    def free(self) -> int:
        """Workers without a trial."""
        return self._count - len(self._due)

    def start(self, trial: Trial) -> None:
        """Has a worker train the trial's next epoch."""
        row = self._rows.setdefault(trial, self._table.row(trial.raw))
        self._order += 1
        due = self.now + float(self._table.cost[row]) / self._table.horizon
        heapq.heappush(self._due, (due, self._order, trial))

    def next(self) -> tuple[Trial, int, float, float] | None:
        """The next finished epoch: trial, epoch, accuracy, seconds; None when all are idle."""
        if not self._due:
            return None
        self.now, _, trial = heapq.heappop(self._due)
        row, epoch = self._rows[trial], trial.epoch + 1
        seconds = float(self._table.cost[row]) / self._table.horizon
        return trial, epoch, float(self._table.accuracy[row, epoch - 1]), seconds


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
    search: Search, table: Table, *, workers: int = 1, record: Record = lambda *_, **__: None
) -> Curve:
    """Runs a whole study on a table."""
    loop = Loop(search, table.space, table.horizon, record)
    crew = SimulatedWorkers(table, workers)
    seen: list[tuple[float, float, float]] = []
    while True:
        while crew.free and (trial := loop.ask()):
            crew.start(trial)
        event = crew.next()
        if event is None:
            break
        trial, epoch, accuracy, seconds = event
        if loop.tell(trial, epoch, {SCORE: accuracy}, seconds) == CONTINUE:
            crew.start(trial)
        seen.append((loop.epochs / loop.horizon, crew.now, accuracy))
    spent, time, score = np.array(seen).T
    return Curve(spent, time, np.maximum.accumulate(score))
