"""Recorded learning curves in the place of trainings: simulated workers, a simulated clock."""

import heapq
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carsclf.errors import DataError
from carsclf.tuning.space import Parameter, Raw, Space
from carsclf.tuning.trial import Trial
from carsclf.tuning.workers.protocol import Epoch, Event

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
        self._params = columns["params"]
        self._units = self.space.to_unit([self.raw(row) for row in range(len(self._params))])

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

    def row(self, raw: Raw, among: NDArray[np.bool_] | None = None) -> int:
        """The nearest recorded configuration, of those asked for."""
        distance = ((self._units - self.space.to_unit([raw])[0]) ** 2).sum(axis=1)
        return int((distance if among is None else np.where(among, distance, np.inf)).argmin())

    def middle(self, known: Mapping[str, float]) -> Raw:
        """The middle of all ranges, but for the values that are known by name."""
        raw = self.space.from_unit(np.full((1, len(self.space)), 0.5))[0]
        return raw | {p.name: float(known[p.name]) for p in self.space if p.name in known}

    def raw(self, row: int) -> Raw:
        """A recorded configuration."""
        return self.space.plain(
            dict(zip((p.name for p in self.space), self._params[row], strict=True))
        )


def _parameter(name: str, values: NDArray[np.float64], log: bool) -> Parameter:
    whole = not log and bool(np.all(values == np.rint(values)))
    return Parameter(name, float(values.min()), float(values.max()), log=log, integer=whole)


class RecordedWorkers:
    """Any number of workers that take a recorded training's time without spending it.

    A recorded full training takes an hour on average. ``distinct``: a proposal is answered with
    the nearest training that no trial was answered with before, and the search is told of that one
    (`answered`); else several trials may be the same training, though the search thinks otherwise.
    """

    def __init__(self, table: Table, count: int, metric: str, *, distinct: bool = False) -> None:
        self.busy: set[Trial] = set()
        self.now = 0.0
        self._table, self._count, self._metric, self._order = table, count, metric, 0
        self._due: list[tuple[float, int, Trial]] = []
        self._rows: dict[Trial, int] = {}
        self._free = np.ones(len(table.accuracy), dtype=bool) if distinct else None

    @property
    def free(self) -> int:
        """See Workers."""
        return self._count - len(self._due)

    @property
    def answered(self) -> Callable[[Raw], Raw] | None:
        """What the search is told it has proposed; None: what it did propose."""
        return None if self._free is None else self._nearest_free

    def start(self, trial: Trial) -> None:
        """See Workers."""
        self.busy.add(trial)
        self.go_on(trial)

    def go_on(self, trial: Trial) -> None:
        """See Workers."""
        row = self._rows.setdefault(trial, self._table.row(trial.raw))
        self._order += 1
        heapq.heappush(self._due, (self.now + self._seconds(row), self._order, trial))

    def halt(self, trial: Trial) -> None:
        """See Workers."""
        self.busy.discard(trial)

    def keep(self, count: float) -> None:
        """See Workers; an idle one costs nothing."""

    def next(self, timeout: float) -> Event | None:
        """See Workers; simulated time does not pass while waiting."""
        if not self._due:
            return None
        self.now, _, trial = heapq.heappop(self._due)
        row, epoch = self._rows[trial], trial.epoch + 1
        metrics = {self._metric: self.score(row, epoch, trial)}
        return Event(trial, epoch=Epoch(epoch, metrics, self._seconds(row)))

    def score(self, row: int, epoch: int, trial: Trial) -> float:
        """What a trial is told of the recorded training it is answered with."""
        return float(self._table.accuracy[row, epoch - 1])

    def _seconds(self, row: int) -> float:
        return float(self._table.cost[row]) / self._table.horizon * 3600

    def _nearest_free(self, raw: Raw) -> Raw:
        assert self._free is not None
        if not self._free.any():
            return {}
        row = self._table.row(raw, self._free)
        self._free[row] = False
        return self._table.raw(row)
