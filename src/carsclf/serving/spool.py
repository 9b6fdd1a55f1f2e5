"""Records on the local disk before they are acknowledged, until a database has them.

Each process appends to a segment of its own, under a lock that the system lets go of when the
process dies. What was written survives the death of the process, though not of the machine, as
nothing waits for the disk. A segment without a living owner is taken over by whoever finds it. The
lock is on the segment itself, as a file beside it would outlive a process killed between the two.
"""

import fcntl
import json
import os
import threading
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

Record = dict[str, Any]
FULL = 8 << 20  # bytes of a segment: what is read again after a kill, at most, where all is stored


class Segment:
    """A file of one JSON record a line, and how much of it is stored elsewhere."""

    def __init__(self, path: Path, *, new: bool) -> None:
        """Raises BlockingIOError where another process has it or had it, OSError."""
        self.path = path
        how = os.O_CREAT | os.O_EXCL if new else 0
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | how, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not self.there:  # finished with between the two
                raise BlockingIOError
            self._reader = path.open("rb")
        except OSError:
            os.close(self._file)
            raise
        self.length = os.fstat(self._file).st_size  # of what counts
        self.done = 0
        self.closed = not new  # to writing

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
        self._reader.close()
        os.close(self._file)  # and the lock with it


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
                if path not in mine:
                    with suppress(OSError):
                        self._segments.insert(0, Segment(path, new=False))

    def close(self) -> None:
        """Leaves what is not stored to the next process."""
        with self._guard:
            for segment in self._segments:
                segment.release(remove=not segment.read())
            self._segments, self._own = [], None

    def _begin(self) -> Segment:
        self.folder.mkdir(parents=True, exist_ok=True)
        while True:
            name = f"{time.time_ns():020}-{uuid.uuid4().hex[:8]}.jsonl"
            with suppress(BlockingIOError):  # taken over before it was locked
                return Segment(self.folder / name, new=True)
