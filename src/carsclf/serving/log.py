"""The prediction log: to the spool before an answer goes out, to the database by and by."""

import json
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from carsclf.errors import CheckpointError
from carsclf.files import atomic_write
from carsclf.serving.database import KINDS, Database
from carsclf.serving.spool import Record, Spool

log = logging.getLogger(__name__)
OFTEN = 0.25  # seconds between two looks at the spool
ORPHANS = 30.0  # seconds between two looks for what dead processes have left
LONGEST = 10.0  # seconds between two tries at a database that does not answer


class PredictionLog:
    """What was acknowledged is in the spool or in the database, whatever happens to either.

    `append` never waits for the database: one thread carries records there in batches, and again
    after a kill; the primary keys make a record that comes twice count once.
    """

    def __init__(self, database: Database, spool: Path, photos: Path | None) -> None:
        self.database, self._photos = database, photos
        self._spool = Spool(spool)
        self._refused = spool / "refused.txt"
        self._wake, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._carry, name="log", daemon=True)
        self.problem: str | None = None  # of the database
        self.broken: str | None = None  # of the spool: nothing can be acknowledged

    def start(self) -> None:
        self._thread.start()

    def stop(self, seconds: float = 10.0) -> None:
        """Stores what can be stored within so many seconds; the rest waits for the next start."""
        self.flush(seconds if self.problem is None else 0)
        self._stop.set()
        self._wake.set()
        self._thread.join(2 * LONGEST)
        if not self._thread.is_alive():
            self._spool.close()

    def append(self, records: Sequence[Record], photos: Mapping[str, bytes] | None = None) -> None:
        """Raises OSError where they cannot be kept: then nothing may be acknowledged.

        photos: contents by their name below the folder of photos.
        """
        try:
            if self._photos is not None:
                for name, content in (photos or {}).items():
                    _keep(self._photos / name, content)
            self._spool.append(records)
            self.broken = None
        except OSError as error:
            self.broken = error.strerror or str(error)
            raise

    def flush(self, seconds: float) -> bool:
        """Waits until all that is in the spool now is in the database; whether it is."""
        until = time.monotonic() + seconds
        while self._spool.bytes and time.monotonic() < until:
            self._wake.set()
            time.sleep(0.01)
        return not self._spool.bytes

    def health(self) -> dict[str, Any]:
        refused = self._refused.stat().st_size if self._refused.is_file() else 0
        if self.broken is not None:
            with suppress(OSError):
                self.append([])  # it may have been mended
        return {
            "database": self.database.shown,
            "problem": self.broken or self.problem,
            "waiting_bytes": self._spool.bytes,
            "refused_bytes": refused,
        }

    def _carry(self) -> None:
        pause, looked = OFTEN, time.monotonic()
        while not self._stop.is_set():
            self._wake.wait(pause)
            self._wake.clear()
            try:
                if time.monotonic() - looked > ORPHANS:
                    self._spool.adopt()
                    looked = time.monotonic()
                self._store()
                self.problem, pause = None, OFTEN
            except Exception as error:  # it goes on trying, whatever it is
                if self.problem is None:
                    log.warning(
                        "the log's database does not take rows, they wait: %s", _said(error)
                    )
                self.problem, pause = _said(error), min(2 * pause, LONGEST)

    def _store(self) -> None:
        for segment in self._spool.waiting():
            while data := segment.read():
                records, torn = _parsed(data)
                refused = self.database.write(records) if records else []
                self._note([*torn, *(f"{why}: {json.dumps(record)}" for record, why in refused)])
                segment.done += len(data)
            self._spool.finish(segment)

    def _note(self, lines: Sequence[str]) -> None:
        """What the database will never take, so that the rest can go on."""
        if lines:
            log.warning("the log's database refused %s rows: %s", len(lines), self._refused)
            with self._refused.open("a", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in lines)


def _parsed(data: bytes) -> tuple[list[Record], list[str]]:
    """Records, and lines that are none."""
    records: list[Record] = []
    torn: list[str] = []
    for line in filter(None, data.split(b"\n")):
        try:
            record = json.loads(line)
            if record["kind"] not in KINDS or not isinstance(record["time"], float):
                raise ValueError
            records.append(record)
        except (ValueError, TypeError, KeyError):
            torn.append(f"no record: {line.decode(errors='backslashreplace')}")
    return records, torn


def _keep(path: Path, content: bytes) -> None:
    """A photo under its hash; raises OSError."""
    if path.is_file():
        return
    try:
        with atomic_write(path) as temporary:
            temporary.write_bytes(content)
    except CheckpointError as error:  # whose remedy is that of a training
        raise error.__cause__ or error from None


def _said(error: Exception) -> str:
    cause = getattr(error, "orig", None) or error  # the driver's word, where there is one
    return f"{type(cause).__name__}: {' '.join(str(cause).split())}"[:300]
