"""Offline W&B runs, read back from their files."""

import struct
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2


def records(path: Path) -> list[Any]:
    """The protobuf records of a .wandb file: LevelDB's log format behind a header of 7 bytes."""
    data, place, found, parts = path.read_bytes(), 7, [], b""
    block = 32 * 1024
    while place + 7 <= len(data):
        if block - place % block < 7:  # what is left of a block is padding
            place += block - place % block
            continue
        size, kind = struct.unpack_from("<HB", data, place + 4)
        parts += data[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # whole, or the last part
            record = wandb_internal_pb2.Record()  # type: ignore[attr-defined]
            record.ParseFromString(parts)
            found.append(record)
            parts = b""
    return found


def keys(items: object) -> set[str]:
    """Names of a record's items, nested ones joined by a slash."""
    return {i.key or "/".join(i.nested_key) for i in items}  # type: ignore[attr-defined]


def logged(found: list[Any]) -> set[str]:
    """All keys of the history."""
    return {k for r in found if r.HasField("history") for k in keys(r.history.item)}
