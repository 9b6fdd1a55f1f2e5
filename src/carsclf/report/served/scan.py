"""All predictions of a log, read once in parts: counts, and samples of what they say."""

# a table's column, row and part are one type to pyright
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportGeneralTypeIssues=false, reportReturnType=false, reportCallIssue=false

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import ColumnElement, String, cast, func, select

from carsclf.report.served.periods import Periods
from carsclf.serving.database import PREDICTIONS
from carsclf.serving.reading import OpenLog

AT_ONCE = 50_000  # rows in memory
KEPT = 2_000_000  # sampled values, of all periods together
MOST, LEAST = 20_000, 200  # sampled values of one period
CLIENTS = 15  # told by name
OTHERS = "all others"
NOBODY = "no X-Client"
BANDS = 10  # of confidence, equal in width
Cell = tuple[str, str]
"""A period and a version."""
P = PREDICTIONS.c


class Sample:
    """At most `most` values, drawn evenly from all that were added."""

    def __init__(self, most: int, rng: np.random.Generator) -> None:
        self.most, self.rng = most, rng
        self._values, self._keys = np.empty(0, np.float32), np.empty(0, np.float32)

    def add(self, values: np.ndarray) -> None:
        self._values = np.concatenate([self._values, values.astype(np.float32)])
        keys = self.rng.random(len(values), np.float32)
        self._keys = np.concatenate([self._keys, keys])
        if len(self._values) > self.most:  # those with the least keys are a sample of all
            kept = np.argpartition(self._keys, self.most)[: self.most]
            self._values, self._keys = self._values[kept], self._keys[kept]

    @property
    def values(self) -> np.ndarray:
        return self._values


@dataclass
class Scan:
    """What all predictions of a window say; the memory it takes does not grow with their number."""

    periods: Periods
    most: int
    rng: np.random.Generator
    counts: Counter[Cell] = field(default_factory=Counter)
    clients: Counter[str] = field(default_factory=Counter)
    classes: dict[Cell, Counter[str]] = field(default_factory=dict)
    bands: dict[str, np.ndarray] = field(default_factory=dict)  # version -> (BANDS,) predictions
    sums: Counter[str] = field(default_factory=Counter)  # version -> sum of confidence
    confidence: dict[Cell, Sample] = field(default_factory=dict)
    openness: dict[Cell, Sample] = field(default_factory=dict)
    seconds: dict[str, Sample] = field(default_factory=dict)  # of periods
    waits: dict[str, Sample] = field(default_factory=dict)  # of clients, in seconds

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def names(self) -> list[str]:
        """Of the periods with predictions, in order."""
        return sorted({period for period, _ in self.counts})

    def of_version(self, version: str) -> int:
        return sum(n for (_, v), n in self.counts.items() if v == version)

    def add(self, rows: pd.DataFrame) -> None:
        """Columns: period, version, predicted, probability, openness, seconds, client."""
        self.clients.update(rows["client"].value_counts().to_dict())
        for client, part in rows.groupby("client", sort=False)["seconds"]:
            self._sample(self.waits, client, part)
        for period, part in rows.groupby("period", sort=False)["seconds"]:
            self._sample(self.seconds, period, part)
        for cell, part in rows.groupby(["period", "version"], sort=False):
            self._add_cell(cell, part)  # type: ignore[arg-type]

    def _add_cell(self, cell: Cell, part: pd.DataFrame) -> None:
        sure = part["probability"].to_numpy(float)
        self.counts[cell] += len(part)
        self.classes.setdefault(cell, Counter()).update(part["predicted"].value_counts().to_dict())
        self.sums[cell[1]] += sure.sum()
        bands = self.bands.setdefault(cell[1], np.zeros(BANDS, np.int64))
        bands += np.bincount(band_of(sure), minlength=BANDS)
        self._sample(self.confidence, cell, part["probability"])
        if len(known := part["openness"].dropna()):
            self._sample(self.openness, cell, known)

    def _sample(self, samples: dict[Any, Sample], key: Any, values: pd.Series) -> None:
        sample = samples.setdefault(key, Sample(self.most, self.rng))
        sample.add(values.to_numpy(float))


def band_of(confidence: np.ndarray) -> np.ndarray:
    """(n,) bands of equal width from 0, upper ends included, as in analysis.calibration."""
    edges = np.linspace(0, 1, BANDS + 1)[1:-1]
    return np.digitize(confidence, edges, right=True)


def between(since: datetime | None, until: datetime | None) -> list[ColumnElement[bool]]:
    """Conditions on predictions."""
    told = [] if since is None else [P.time >= since]
    return told if until is None else [*told, P.time < until]


def day_of(log: OpenLog) -> ColumnElement[str]:
    """The UTC day of a prediction as text, told by the database, which is quick."""
    if log.connection.dialect.name == "sqlite":
        return func.substr(cast(P.time, String), 1, 10)
    return func.to_char(func.timezone("UTC", P.time), "YYYY-MM-DD")


def scan(log: OpenLog, where: list[ColumnElement[bool]], periods: Periods, cells: int) -> Scan:
    """One pass over the predictions. cells: periods and versions that are expected, about."""
    most = int(np.clip(KEPT // max(cells, 1), LEAST, MOST))
    made = Scan(periods, most, np.random.default_rng(0))
    known = _clients(log, where)
    query = select(
        day_of(log), P.version, P.predicted, P.probability, P.openness, P.seconds, P.client
    ).where(*where)
    for rows in _parts(log, query):
        days = {day: periods.of(day) for day in rows["day"].unique()}
        rows["period"] = rows["day"].map(days)
        client = rows["client"].fillna(NOBODY).replace("", NOBODY)
        rows["client"] = client.where(client.isin(known), OTHERS)
        made.add(rows)
    return made


def _parts(log: OpenLog, query: Any) -> Iterator[pd.DataFrame]:
    columns = ["day", "version", "predicted", "probability", "openness", "seconds", "client"]
    streamed = log.connection.execution_options(stream_results=True).execute(query)
    for rows in streamed.partitions(AT_ONCE):
        part = pd.DataFrame.from_records(rows, columns=columns)  # type: ignore[arg-type]
        for name in ("probability", "openness", "seconds"):
            part[name] = part[name].astype(float)
        yield part


def _clients(log: OpenLog, where: list[ColumnElement[bool]]) -> set[str]:
    """Those with most predictions: strangers name themselves, so there may be any number."""
    many = func.count()
    query = select(P.client).where(*where).group_by(P.client).order_by(many.desc()).limit(CLIENTS)
    return {client or NOBODY for client in log.connection.scalars(query)}
