"""Time as a budget, counted over all sittings: what a killed one spent counts too."""

import json
import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from carsclf.errors import CheckpointError

EVERY = 5.0  # seconds between beats: what a kill loses at most
BETWEEN = "between stages"


class Ledger:
    """Seconds that passed, by stage; appended to a file, a beat at a time.

    Between sittings nothing passes. A last line cut off by a kill is passed over.
    """

    def __init__(self, path: Path, hours: float) -> None:
        self.path, self.hours = path, hours
        self._stage, self._since = BETWEEN, time.monotonic()
        self._lock = threading.Lock()
        self._spent: defaultdict[str, float] = defaultdict(float)
        for stage, seconds in _read(path):
            self._spent[stage] += seconds
        self._torn = path.is_file() and not path.read_bytes().endswith(b"\n")

    def spent(self) -> float:
        """Seconds of all sittings."""
        with self._lock:
            return sum(self._spent.values()) + time.monotonic() - self._since

    def spent_at(self, stage: str) -> float:
        """Seconds of a stage, as far as they are written."""
        return self._spent[stage]

    def left(self) -> float:
        """Seconds that remain of the hours; negative when they are over."""
        return 3600 * self.hours - self.spent()

    def beat(self) -> None:
        """Writes what passed since the last beat; on disk when this returns."""
        with self._lock:
            now = time.monotonic()
            passed, self._since = now - self._since, now
            self._spent[self._stage] += passed
            line = json.dumps({"stage": self._stage, "seconds": round(passed, 3)})
            try:
                with self.path.open("a", encoding="utf-8") as file:
                    file.write("\n" * self._torn + line + "\n")
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:
                raise CheckpointError(
                    f"could not write {self.path}: {error.strerror}; make room, and resume"
                ) from None
            self._torn = False

    @contextmanager
    def running(self, began: float | None = None) -> Iterator[None]:
        """Beats by itself, now and then; in a thread, as a stage may train for long.

        began: when this sitting did, by `time.monotonic()`, if that was before.
        """
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(EVERY):
                with suppress(CheckpointError):  # the stage's own end says it
                    self.beat()

        self._since = time.monotonic() if began is None else began
        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            self.beat()

    @contextmanager
    def at(self, stage: str) -> Iterator[None]:
        """What passes inside is that stage's."""
        self.beat()
        before, self._stage = self._stage, stage
        try:
            yield
        finally:
            self.beat()
            self._stage = before


def _read(path: Path) -> Iterator[tuple[str, float]]:
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
            yield str(row["stage"]), float(row["seconds"])
        except (ValueError, KeyError, TypeError):
            continue
