"""Predictions whose true class somebody told: one row each, whoever and how many looked at it."""

# a table's column, row and part are one type to pyright
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportGeneralTypeIssues=false, reportReturnType=false, reportCallIssue=false

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import ColumnElement, func, select

from carsclf.analysis.comparison import wilson
from carsclf.report.served.periods import Periods
from carsclf.report.served.scan import AT_ONCE, P, band_of, day_of
from carsclf.serving.database import EVALUATIONS, MODELS, PREDICTIONS
from carsclf.serving.reading import OpenLog

E = EVALUATIONS.c
COLUMNS = ["period", "version", "photo", "predicted", "probability", "truth", "disputed", "said"]
RULE = (
    "Where several people judged a prediction, its true class is what most of them say (each "
    "one's latest word), and at a tie the latest word of those tied"
)


@dataclass(frozen=True)
class Served:
    """A model of the log, as its table `models` has it."""

    version: str
    time: datetime | None
    """First served; None where the table does not know the version."""
    classes: frozenset[str]


def agreed(words: Sequence[tuple[str, Any]]) -> tuple[str, bool]:
    """The true class by RULE, of (class, time) of each evaluator; and whether they disagree."""
    votes = Counter(word for word, _ in words)
    latest_first = [word for word, _ in sorted(words, key=lambda w: w[1], reverse=True)]
    most = max(votes.values())
    return next(word for word in latest_first if votes[word] == most), len(votes) > 1


def read_evaluated(
    log: OpenLog, where: list[ColumnElement[bool]], periods: Periods
) -> pd.DataFrame:
    """COLUMNS, a row per evaluated prediction, and `right`; about 100 bytes each in memory.

    photo: a whole number made of the file's SHA-256; said: when the last evaluation came.
    """
    query = (
        select(
            E.request_id, E.image, E.true_class, E.time,
            day_of(log), P.version, P.sha256, P.predicted, P.probability,
        )
        .join(PREDICTIONS, (P.request_id == E.request_id) & (P.image == E.image))
        .where(*where)
        .order_by(E.request_id, E.image)
    )  # fmt: skip
    names: dict[str, str] = {}  # each name once in memory
    parts, rows = [], []
    streamed = log.connection.execution_options(stream_results=True, yield_per=AT_ONCE)
    for _, group in groupby(streamed.execute(query), key=lambda row: (row[0], row[1])):
        found = list(group)
        _, _, _, _, day, version, sha256, predicted, probability = found[0]
        truth, disputed = agreed([(row[2], row[3]) for row in found])
        period, version, predicted, truth = (
            names.setdefault(name, name) for name in (periods.of(day), version, predicted, truth)
        )
        said = max(row[3] for row in found)
        photo = number_of(sha256)
        rows.append((period, version, photo, predicted, probability, truth, disputed, said))
        if len(rows) == AT_ONCE:
            parts.append(pd.DataFrame(rows, columns=COLUMNS))
            rows = []
    table = pd.concat([*parts, pd.DataFrame(rows, columns=COLUMNS)], ignore_index=True)
    table["right"] = (table["truth"] == table["predicted"]).astype(bool)
    return table


def number_of(sha256: str) -> int:
    """Of a file: 60 bits of its hash, enough to tell millions of photos apart."""
    return int(sha256[:15], 16)


def read_models(log: OpenLog, versions: Sequence[str]) -> list[Served]:
    """Those of the versions, in the order of their last predictions: one may be served again."""
    latest = select(P.version, func.max(P.time)).group_by(P.version)
    last = {version: str(time) for version, time in log.connection.execute(latest)}
    rows = log.connection.execute(select(MODELS.c.version, MODELS.c.time, MODELS.c.class_names))
    known = {v: Served(v, time, frozenset(names)) for v, time, names in rows if v in versions}
    models = [known.get(version, Served(version, None, frozenset())) for version in versions]
    return sorted(models, key=lambda m: (last.get(m.version, ""), str(m.time or ""), m.version))


def read_judged_photos(
    log: OpenLog, where: list[ColumnElement[bool]], evaluated: pd.DataFrame
) -> pd.DataFrame:
    """What each version says of each evaluated photo, be it in another request than the evaluated.

    A row per photo that was evaluated (its latest evaluation counts), a column per version: the
    class, None where that version never saw it; and `truth`.
    """
    truths = evaluated.sort_values("said", kind="stable").drop_duplicates("photo", keep="last")
    photos = (
        select(P.sha256)
        .join(EVALUATIONS, (P.request_id == E.request_id) & (P.image == E.image))
        .where(*where)
    )
    said: dict[str, dict[int, str]] = {}
    for sha256, version, predicted in _rows(log, where, photos):
        said.setdefault(version, {})[number_of(sha256)] = predicted
    table = truths[["photo", "truth"]].reset_index(drop=True)
    for version, classes in said.items():
        found = [classes.get(photo) for photo in table["photo"]]
        table[version] = pd.Series(found, dtype=object)
    return table


def _rows(log: OpenLog, where: list[ColumnElement[bool]], photos: Any) -> Iterator[Any]:
    query = (
        select(P.sha256, P.version, P.predicted)
        .where(P.sha256.in_(photos), *where)
        .order_by(P.time)  # the last word of a version stays
    )
    return iter(
        log.connection.execution_options(stream_results=True, yield_per=AT_ONCE).execute(query)
    )


def accuracies(table: pd.DataFrame, by: str) -> pd.DataFrame:
    """Columns: `by`, evaluated, right, accuracy and Wilson's 95 % interval (low, high)."""
    rows = []
    for name, hits in table.groupby(by, sort=True)["right"]:
        interval = wilson(int(hits.sum()), len(hits))
        rows.append((name, len(hits), int(hits.sum()), interval.value, interval.low, interval.high))
    return pd.DataFrame(rows, columns=[by, "evaluated", "right", "accuracy", "low", "high"])


def reweighted(right: np.ndarray, confidence: np.ndarray, bands: np.ndarray) -> tuple[float, float]:
    """Accuracy if the evaluated had the confidence of all, and the share of all that this covers.

    Post-stratification: the accuracy of each band of confidence counts as often as the band occurs
    among all predictions (BANDS,). Bands without an evaluated prediction are not covered.
    """
    place = band_of(confidence)
    n = np.bincount(place, minlength=len(bands))
    hits = np.bincount(place, weights=right, minlength=len(bands))
    weights = np.where(n > 0, bands, 0)
    covered = weights.sum() / bands.sum()
    if not weights.sum():
        return float("nan"), 0.0
    return float((weights * hits / np.maximum(n, 1)).sum() / weights.sum()), float(covered)
