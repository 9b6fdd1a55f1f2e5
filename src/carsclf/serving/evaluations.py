"""Manual evaluations: the true class of a picture that was predicted, by somebody."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select, tuple_

from carsclf.errors import DataError, nearest
from carsclf.files import table_of
from carsclf.serving.database import EVALUATIONS, MODELS, PREDICTIONS, Database

AT_ONCE = 200  # predictions asked for in one query: SQLite takes a limited number of values
NEEDED = ("request_id", "true_class", "who")
OTHER = "none of these"
"""The true class of a picture of something that no model has as a class."""
COLUMNS = (*NEEDED, "image", "note")


@dataclass(frozen=True)
class Evaluation:
    """What a picture truly shows; `image` counts the pictures of its request from 0."""

    request_id: str
    true_class: str
    who: str
    image: int = 0
    note: str = ""


def keep_evaluations(database: Database, rows: Sequence[Evaluation]) -> list[str | None]:
    """Stores what can be stored, all at once; for each row the reason why not, or None.

    Somebody's later word on a picture replaces the earlier. The class must be one of any model that
    was ever served, as a new model's class may be what an old one got wrong, or OTHER.
    """
    with database.begin() as connection:
        classes = {n for names in connection.scalars(select(MODELS.c.class_names)) for n in names}
        known = _known(connection, rows)
        reasons = [_reason(row, known, classes) for row in rows]
        good = {
            (row.request_id, row.image, row.who): asdict(row) | {"time": datetime.now(UTC)}
            for row, reason in zip(rows, reasons, strict=True)
            if reason is None
        }
        if good:
            insert = database.insert(EVALUATIONS)
            new = {name: insert.excluded[name] for name in ("true_class", "note", "time")}
            keys = ["request_id", "image", "who"]
            connection.execute(
                insert.on_conflict_do_update(index_elements=keys, set_=new), list(good.values())
            )
    return reasons


def import_evaluations(database: Database, path: Path) -> tuple[int, list[str]]:
    """A CSV with the columns request_id, true_class, who and, where wanted, image and note.

    Returns how many rows are kept, and the others by their line with the reason. Raises DataError
    for a file that cannot be read or lacks columns.
    """
    try:
        with path.expanduser().open(newline="", encoding="utf-8-sig") as file:
            reader = table_of(file, f"evaluations={path}")
            lines = [(reader.line_num, row) for row in reader]
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"evaluations={path} cannot be read: {error}") from None
    there = [*(reader.fieldnames or ())]
    missing = [name for name in NEEDED if name not in there]
    unknown = [name for name in there if name not in COLUMNS]
    if missing or unknown:
        what = f"no column {', '.join(missing)}" if missing else f"a column {unknown[0]!r}"
        raise DataError(
            f"evaluations={path} has {what}: expected request_id, true_class, who and, where "
            "wanted, image and note"
        )
    read = [(line, _read(row)) for line, row in lines]
    rows = [(line, row) for line, row in read if isinstance(row, Evaluation)]
    reasons = keep_evaluations(database, [row for _, row in rows])
    told = {line: row for line, row in read if isinstance(row, str)}
    told |= {line: why for (line, _), why in zip(rows, reasons, strict=True) if why is not None}
    return reasons.count(None), [f"line {line}: {why}" for line, why in sorted(told.items())]


def _known(connection: Connection, rows: Sequence[Evaluation]) -> set[tuple[str, int]]:
    """Which of the pictures were predicted."""
    wanted = sorted({(row.request_id, row.image) for row in rows})
    column = tuple_(PREDICTIONS.c.request_id, PREDICTIONS.c.image)
    found: set[tuple[str, int]] = set()
    for start in range(0, len(wanted), AT_ONCE):
        some = column.in_(wanted[start : start + AT_ONCE])
        query = select(PREDICTIONS.c.request_id, PREDICTIONS.c.image).where(some)
        found |= {(row[0], row[1]) for row in connection.execute(query)}
    return found


def _reason(row: Evaluation, known: set[tuple[str, int]], classes: set[str]) -> str | None:
    if not row.who.strip():
        return "who is empty: whose word is it?"
    if (row.request_id, row.image) not in known:
        return f"no picture {row.image} of a request {row.request_id!r} was predicted"
    if row.true_class not in {*classes, OTHER}:
        hint = nearest(row.true_class, sorted(classes))
        return f"no model has a class {row.true_class!r}: {hint}, or say {OTHER!r}"
    return None


def _read(row: Mapping[str | Any, Any]) -> Evaluation | str:
    """A line of the CSV, or what is wrong with it."""
    texts = {name: (row.get(name) or "").strip() for name in COLUMNS}
    image = texts.pop("image") or "0"
    if not (image.isascii() and image.isdigit() and len(image) < 10):
        return f"image={image}: expected a whole number, from 0"
    if any("\0" in text for text in texts.values()):
        return "a zero byte is no text"
    return Evaluation(image=int(image), **texts)
