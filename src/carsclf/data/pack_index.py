"""What a pack's folder holds: a map of pixels that only grows, and an index of what counts."""

import json
import logging
import uuid
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from carsclf.data.decoding import DECODERS

log = logging.getLogger(__name__)

Row = tuple[int, int, int, int]  # offset, height, width, checksum


@dataclass
class Index:
    """`index.json`: the map's name, its size and time when last written, and what lies in it.

    rows: of each content; unreadable: why, of each content that DECODERS cannot decode; files:
    the identity (see file_identity) and the content that each place was last seen with.
    """

    folder: Path
    file: str
    rows: dict[str, Row] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    files: dict[str, tuple[list[int], str]] = field(default_factory=dict)
    stamp: tuple[int, int] = (0, 0)
    end: int = 0  # of what counts: a killed builder's last pictures may lie behind it

    @property
    def pictures(self) -> Path:
        return self.folder / self.file

    @property
    def untouched(self) -> bool:
        """The map is as the index left it: no builder was killed, nobody else wrote into it."""
        return self.pictures.is_file() and _stamp(self.pictures) == self.stamp

    def content(self, place: str, identity: list[int]) -> str | None:
        """The content at a place; None where it is not known, or another file is there now."""
        seen, content = self.files.get(place, ([], ""))
        known = content in self.rows or content in self.unreadable
        return content if known and identity and seen == identity else None

    @classmethod
    def new(cls, folder: Path) -> "Index":
        return cls(folder, f"pictures-{uuid.uuid4().hex}.u8")

    @classmethod
    def read(cls, folder: Path) -> "Index | None":
        """None where there is none, or where it is damaged or of another version."""
        try:
            values = json.loads((folder / "index.json").read_text())
            rows = {str(key): _row(row) for key, row in values["rows"].items()}
            size, changed = map(int, values["stamp"])
            if any(min(row) < 0 or _end(row) > size for row in rows.values()):
                raise ValueError("rows outside the map")
            same = values["decoders"] == DECODERS
            bad = {str(key): str(why) for key, why in values["unreadable"].items() if same}
            files = {str(p): (list(map(int, i)), str(c)) for p, (i, c) in values["files"].items()}
            file = Path(values["file"]).name
            return cls(folder, file, rows, bad, files, (size, changed), size)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError):
            log.warning("%s is damaged: its photos are packed anew", folder / "index.json")
            return None

    def write(self) -> None:
        self.stamp = _stamp(self.pictures)
        self.end = self.stamp[0]
        values = {"file": self.file, "stamp": self.stamp, "rows": self.rows}
        values |= {"unreadable": self.unreadable, "decoders": DECODERS, "files": self.files}
        temporary = self.folder / "index.json.new"
        temporary.write_text(json.dumps(values))
        temporary.replace(self.folder / "index.json")

    def mend(self) -> None:
        """Drops rows whose pictures are not what was written; removes maps nobody knows of."""
        for other in self.folder.glob("pictures-*.u8"):
            if other.name != self.file:
                other.unlink()
        if self.untouched:
            return
        if not self.pictures.is_file():
            self.rows, self.end = {}, 0
            return
        pixels, before = map_pixels(self.pictures), len(self.rows)
        # readers may still look at what lies in the gaps, so these are not filled again
        self.end = max(map(_end, self.rows.values()), default=0)
        self.rows = {
            k: r for k, r in self.rows.items() if zlib.crc32(pixels[r[0] : _end(r)].data) == r[3]
        }
        if len(self.rows) < before:
            lost = before - len(self.rows)
            log.warning("%d pictures in %s are damaged: packed anew", lost, self.pictures)


def map_pixels(path: Path) -> np.ndarray:
    """All of the map, (bytes,) uint8, on pages that all processes share.

    Copy-on-write rather than read-only, about which torch warns: the file is never written to.
    """
    if not path.stat().st_size:
        return np.empty(0, np.uint8)
    return np.asarray(np.memmap(path, np.uint8, "c"))  # memmap's own slices are slow


def _end(row: Row) -> int:
    return row[0] + row[1] * row[2] * 3


def _row(values: Sequence[int]) -> Row:
    offset, height, width, checksum = map(int, values)
    return offset, height, width, checksum


def _stamp(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns
