"""Writing decisions: each one is on the disk before anybody sees it as made."""

import errno
import fcntl
import os
from collections.abc import Iterable
from pathlib import Path

from carsclf.data.decision_log import HEADER, Entry
from carsclf.errors import CheckpointError


def append(path: Path, entries: Iterable[Entry]) -> bytes:
    """Adds lines in one write, which is on the disk when this returns; returns what was written.

    Writers wait for each other, and begin a new line where one before them was killed. Raises
    CheckpointError where the disk is full or read-only, and then nothing was added.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            size = os.fstat(handle).st_size
            text = "" if size else HEADER
            if size and os.pread(handle, 1, size - 1) != b"\n":
                text = "\n"
            content = (text + "".join(entry.line() for entry in entries)).encode()
            try:
                if os.write(handle, content) != len(content):
                    raise OSError(errno.ENOSPC, "no space is left for it")
                os.fsync(handle)
            except OSError:
                os.ftruncate(handle, size)
                raise
        finally:
            os.close(handle)
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be written ({error.strerror or error}): this decision was not kept"
        ) from None
    return content
