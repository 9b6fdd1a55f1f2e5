"""Records on the local disk before they are acknowledged, until a database has them.

Each process appends to a segment of its own, under a lock that the system lets go of when the
process dies. What was written survives the death of the process, though not of the machine, as
nothing waits for the disk. A segment without a living owner is taken over by whoever finds it.
"""

import json
import os
import threading
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

Record = dict[str, Any]
FULL = 8 << 20  # bytes of a segment: what is read again after a kill, at most, where all is stored


class Segment:
    """A file of one JSON record a line, and how much of it is stored elsewhere."""

    def __init__(self, path: Path) -> None:
        """Raises Timeout where another process has it, OSError where it cannot be opened."""
        self.path = path
        self._lock = FileLock(path.with_suffix(".lock"), thread_local=False)
        self._lock.acquire(timeout=0)
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            self._reader = path.open("rb")
        except OSError:
            self._lock.release()
            raise
        self.length = os.fstat(self._file).st_size  # of what counts
        self.done = 0
        self.closed = False  # to writing

    @property
    def there(self) -> bool:
        """Whether it still has a name, so that a later process would find it."""
        return os.fstat(self._file).st_nlink > 0

    def append(self, data: bytes) -> None:
        """All of it or nothing; raises OSError."""
        try:
            if (written := os.write(self._file, data)) < len(data):
                raise OSError(28, f"only {written} of {len(data)} bytes could be written")
        except OSError:
            try:
                os.ftruncate(self._file, self.length)
            except OSError:
                self.closed = True  # a torn line may only be the last one
            raise
        self.length += len(data)

    def read(self, most: int = 1 << 20) -> bytes:
        """Whole lines that are not stored yet, about `most` bytes of them."""
        self._reader.seek(self.done)
        data = self._reader.read(min(most, self.length - self.done))
        if b"\n" not in data:  # a longer line, or the torn end of a dead process's
            data += self._reader.read(self.length - self.done - len(data))
        return data[: data.rfind(b"\n") + 1]

    def release(self, *, remove: bool) -> None:
        self.closed = True
        if remove:
            self.path.unlink(missing_ok=True)
        os.close(self._file)
        self._reader.close()
        self._lock.release()
        if remove:
            Path(self._lock.lock_file).unlink(missing_ok=True)


class Spool:
    """The segments that this process answers for, oldest first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._guard = threading.Lock()
        self._segments: list[Segment] = []
        self._own: Segment | None = None
        self.adopt()

    @property
    def bytes(self) -> int:
        """Not stored yet."""
        return sum(segment.length - segment.done for segment in list(self._segments))

    def append(self, records: Sequence[Record]) -> None:
        """In the system's hands when this returns; none: an empty line. Raises OSError."""
        data = b"".join(json.dumps(record).encode() + b"\n" for record in records) or b"\n"
        with self._guard:
            own = self._own
            if own is None or own.closed or own.length > FULL or not own.there:
                if own is not None:
                    own.closed = True
                own = self._own = self._begin()
                self._segments.append(own)
            own.append(data)

    def waiting(self) -> list[Segment]:
        with self._guard:
            return list(self._segments)

    def finish(self, segment: Segment) -> None:
        """A segment that is closed and stored as a whole goes."""
        with self._guard:
            if segment.closed and not segment.read():
                self._segments.remove(segment)
                segment.release(remove=True)

    def adopt(self) -> None:
        """Takes over what dead processes have left."""
        with self._guard:
            mine = {segment.path for segment in self._segments}
            for path in sorted(self.folder.glob("*.jsonl")):
                if path not in mine and (segment := _taken_over(path)):
                    self._segments.insert(0, segment)

    def close(self) -> None:
        """Leaves what is not stored to the next process."""
        with self._guard:
            for segment in self._segments:
                segment.release(remove=not segment.read())
            self._segments, self._own = [], None

    def _begin(self) -> Segment:
        self.folder.mkdir(parents=True, exist_ok=True)
        name = f"{time.time_ns():020}-{uuid.uuid4().hex[:8]}.jsonl"
        return Segment(self.folder / name)


def _taken_over(path: Path) -> Segment | None:
    try:
        segment = Segment(path)
    except (Timeout, OSError):
        return None
    segment.closed = True
    return segment
