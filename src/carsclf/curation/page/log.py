"""Writing decisions: each one is on the disk before anybody sees it as made."""

import errno
import fcntl
import os
from collections.abc import Iterable
from pathlib import Path

from carsclf.data.decision_log import HEADER, Entry, Ledger
from carsclf.errors import CheckpointError, DataError
from carsclf.files import atomic_write


def begin(path: Path, ledger: Ledger) -> None:
    """A file of what stands in another, whatever its columns."""
    said = sorted((s for id in ledger.ids() for s in ledger.of(id)), key=lambda s: s[0])
    with atomic_write(path) as temporary:
        temporary.write_text(HEADER + "".join(e.line() for _, e in said), encoding="utf-8")


def check_columns(path: Path, content: bytes) -> None:
    """Refuses a list by hand, whose columns are not those of the lines that would be added."""
    if content and not content.startswith(HEADER.encode()):
        raise DataError(
            f"{path} does not begin with {HEADER.strip()}, so the page cannot add to it: move it "
            "elsewhere; data.decisions takes it as it is"
        )


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
