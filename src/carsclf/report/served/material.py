"""What the page is made from, read in one state of the log."""

# a table's column, row and part are one type to pyright
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportGeneralTypeIssues=false, reportReturnType=false, reportCallIssue=false

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from sqlalchemy import func, select

from carsclf.errors import DataError
from carsclf.options.command_line import argument
from carsclf.report.page import Desk, Section
from carsclf.report.served.evaluated import Served, read_evaluated, read_judged_photos, read_models
from carsclf.report.served.periods import choose, window
from carsclf.report.served.scan import P, Scan, between, day_of, scan
from carsclf.serving.database import EVALUATIONS
from carsclf.serving.reading import OpenLog


@dataclass(frozen=True)
class Material:
    """A log between two moments."""

    shown: str
    """Where it lies, without a password."""
    first: str
    last: str
    """Days with predictions."""
    scan: Scan
    evaluated: pd.DataFrame
    models: list[Served]
    """In the order of their last predictions; the last is the deployed one."""
    photos: pd.DataFrame
    """What each version says of each evaluated photo."""
    judgements: int
    """Rows of the table of evaluations, of all time."""
    desk: Desk

    @property
    def kind(self) -> str:
        return self.scan.periods.kind

    @property
    def versions(self) -> list[str]:
        return [model.version for model in self.models]

    @property
    def deployed(self) -> str:
        return self.versions[-1]

    @cached_property
    def of_deployed(self) -> pd.DataFrame:
        """Evaluated predictions of the deployed model."""
        return self.evaluated[self.evaluated["version"] == self.deployed]

    def lacks_evaluations(self, made: Section) -> bool:
        """Tells a section that nothing was evaluated, and how that is mended."""
        if len(self.evaluated):
            return False
        elsewhere = f" ({self.judgements:,} lie outside this time)" if self.judgements else ""
        made.answer = (
            f"None of these predictions was evaluated{elsewhere}, so nothing can be said of this."
        )
        made.commands(
            [
                "# said.csv: request_id,true_class,who[,image,note]",
                f"python serve.py evaluations=said.csv {argument('log', self.shown)}",
            ],
            "True classes are told to POST /evaluations of the service, or from a file. A random "
            "draw of the predictions tells more than those that somebody stumbled upon:",
        )
        return True


def read_material(
    log: OpenLog, folder: Path, period: str, since: str | None, until: str | None
) -> Material:
    """What is left of an earlier page in the folder goes once all is read.

    Raises DataError where the log holds no prediction of that time."""
    begin, end = window(since, until)
    where = between(begin, end)
    first, last = _span(log, begin, end)
    periods = choose(period, first, last)
    versions = list(log.connection.scalars(select(P.version).where(*where).distinct()))
    read = scan(log, where, periods, periods.between(first, last) * len(versions))
    evaluated = read_evaluated(log, where, periods)
    photos = read_judged_photos(log, where, evaluated) if len(versions) > 1 else pd.DataFrame()
    models = read_models(log, versions)
    many = log.connection.scalar(select(func.count()).select_from(EVALUATIONS)) or 0
    desk = Desk(folder)
    return Material(log.shown, first, last, read, evaluated, models, photos, many, desk)


def _span(log: OpenLog, begin: datetime | None, end: datetime | None) -> tuple[str, str]:
    """The first and the last day with a prediction."""
    first, last = _days(log, between(begin, end))
    if first is not None:
        return first, last
    first, last = _days(log, [])
    if first is None:
        raise DataError(
            f"log={log.shown} holds no predictions yet: python serve.py run=<run> logs those that "
            "are asked for"
        )
    raise DataError(
        f"log={log.shown} holds no predictions of that time: they lie between {first} and {last} "
        "(UTC); since= is included, until= is not"
    )


def _days(log: OpenLog, where: list[Any]) -> tuple[str, str]:
    row = log.connection.execute(
        select(func.min(day_of(log)), func.max(day_of(log))).where(*where)
    ).one()
    return row[0], row[1]
