"""events.jsonl: appended as things happen, and read again to rebuild a killed study.

The loop's state is a function of the calls it got, and every call leaves its events. Rebuilding
therefore makes the same calls again, while the journal checks what they record against the file
instead of writing it; once the file is used up it writes again. A call cut in half by a kill is
completed that way.
"""

import json
import os
import time
from pathlib import Path
from typing import Any, TextIO

from carsclf.errors import CheckpointError

Event = dict[str, Any]
VOLATILE = ("time", "seconds")


class Journal:
    """The events of one study, past (`ahead`) and to come; without a path kept in memory only."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.events: list[Event] = _read(path) if path is not None and path.exists() else []
        self._next = 0
        self._file: TextIO | None = None
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._file = path.open("a", encoding="utf-8")
        except OSError as error:
            raise CheckpointError(f"could not write {path}: {error.strerror}") from None

    @property
    def ahead(self) -> Event | None:
        """The next event of the past; None: all is rebuilt."""
        return self.events[self._next] if self._next < len(self.events) else None

    def record(self, kind: str, **fields: Any) -> None:
        """Writes an event, on disk when this returns; or finds it where the past has it."""
        event = {"kind": kind, **fields}
        known = self.ahead
        self._next += 1
        if known is not None:
            if _stable(known) != _stable(event):
                raise CheckpointError(
                    f"{self.path}, line {self._next}: the study does not repeat itself (expected "
                    f"{_stable(known)}, came {_stable(event)}); its packages or code have changed"
                )
            return
        event["time"] = round(time.time(), 3)
        self.events.append(event)
        if self._file is None:
            return
        try:
            self._file.write(json.dumps(event) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise CheckpointError(
                f"could not write {self.path}: {error.strerror}; make room and resume the study"
            ) from None

    def skip(self) -> None:
        """Passes over an event that no call leaves."""
        self._next += 1

    @property
    def seconds(self) -> float:
        """Wall-clock of all sittings: the gaps before a resume do not count."""
        pairs = zip(self.events, self.events[1:], strict=False)
        return sum(b["time"] - a["time"] for a, b in pairs if b["kind"] != "resume")

    def close(self) -> None:
        """No more events."""
        if self._file is not None:
            self._file.close()


def _stable(event: Event) -> str:
    kept = {key: value for key, value in event.items() if key not in VOLATILE}
    return json.dumps(kept, sort_keys=True)  # as text, in which nan equals nan


def _read(path: Path) -> list[Event]:
    """All whole lines; a last line torn by a kill is cut off the file."""
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        with path.open("r+b") as file:
            file.truncate(len(whole))
    events = []
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            events.append(json.loads(line))
        except ValueError:
            raise CheckpointError(f"{path}, line {number} is damaged: not JSON") from None
    return events
