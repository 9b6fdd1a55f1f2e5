"""Photos moved by decision, never deleted: every move is in a log before and after it is made.

The log is append-only, a JSON object a line: `move` before a photo moves, `done` after it, `undo`
and `undone` likewise. A kill between the two leaves the photo at one of both places, or at both
with the same content; the next start finds out which, and finishes.
"""

import errno
import filecmp
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from carsclf.errors import CheckpointError, ConfigError

LOG = ".decisions.jsonl"  # hidden, so that a folder of classes passes over it
PARTIAL = ".moving"


@dataclass(frozen=True)
class Move:
    """One photo's way, as the log holds it. state: begun, done, undoing or undone."""

    number: int
    source: Path
    target: Path
    told: Mapping[str, Any] = field(default_factory=dict)  # decision, who, when, why
    state: str = "begun"


@dataclass
class Log:
    """The moves of one library."""

    path: Path
    moves: dict[int, Move] = field(default_factory=dict)

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Reads the log and finishes what a kill interrupted; one process at a time."""
        try:
            with FileLock(self.path.with_name(f"{self.path.name}.lock"), timeout=0):
                self._read()
                for move in [m for m in self.moves.values() if m.state in ("begun", "undoing")]:
                    self._finish(move)
                yield
        except Timeout:
            raise ConfigError(f"another process moves photos by {self.path}: wait for it") from None

    def move(self, source: Path, target: Path, told: Mapping[str, Any]) -> Move:
        """Moves a photo to a place that is free, and logs it."""
        told = {**told, "made": not target.parent.exists()}
        move = Move(max(self.moves, default=0) + 1, source, target, told)
        self._append("move", move, **{"from": str(source), "to": str(target)}, **told)
        move_file(source, target)
        return self._append("done", move)

    def undo(self, move: Move) -> Move:
        """Moves it back to where it was, which must be free."""
        self._append("undo", move)
        move_file(move.target, move.source)
        folder = move.target.parent
        if any(m.told.get("made") for m in self.moves.values() if m.target.parent == folder):
            with suppress(OSError):  # other photos are in it
                folder.rmdir()  # a class of no photo, at which training would stop
        return self._append("undone", move)

    def settle(self) -> None:
        """Ends what was begun and could not be: the photo lies where it lay, or where it went."""
        for move in [m for m in self.moves.values() if m.state in ("begun", "undoing")]:
            self._finish(move)

    def stands(self, move: Move) -> Move:
        """After an undoing that failed: the photo lies where it was moved to."""
        return self._append("done", move)

    def of(self, photo: Path) -> Move | None:
        """The last move that took a photo away from this place and stands."""
        own = [m for m in self.moves.values() if m.source == photo and m.state == "done"]
        return own[-1] if own else None

    def _finish(self, move: Move) -> None:
        """What a kill interrupted: made, not begun, or copied and not yet removed."""
        ends = (move.source, move.target) if move.state == "begun" else (move.target, move.source)
        _partial(ends[1]).unlink(missing_ok=True)
        finished = ends[1].exists()
        if finished and ends[0].exists():
            finished = filecmp.cmp(*ends, shallow=False)
            if finished:
                ends[0].unlink()  # the whole copy lies at its place
        done, left = ("done", "undone") if move.state == "begun" else ("undone", "done")
        self._append(done if finished else left, move)

    def _append(self, what: str, move: Move, **more: Any) -> Move:
        states = {"move": "begun", "undo": "undoing"}
        entry = {"n": move.number, "what": what, **more}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            file.write(json.dumps(entry).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        state = states.get(what, what)
        self.moves[move.number] = Move(move.number, move.source, move.target, move.told, state)
        return self.moves[move.number]

    def _read(self) -> None:
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return
        if content and not content.endswith(b"\n"):  # killed while it wrote: nothing was moved yet
            with self.path.open("ab") as file:
                file.write(b"\n")
        states = {"move": "begun", "undo": "undoing"}
        for line in content.split(b"\n"):
            try:
                entry = json.loads(line)
                number, what = int(entry["n"]), str(entry["what"])
                if what == "move":
                    told = {k: v for k, v in entry.items() if k not in ("n", "what", "from", "to")}
                    ends = Path(entry["from"]), Path(entry["to"])
                    self.moves[number] = Move(number, *ends, told)
                else:
                    known = self.moves[number]
                    state = states.get(what, what)
                    self.moves[number] = Move(number, known.source, known.target, known.told, state)
            except (ValueError, KeyError, TypeError):
                continue  # half a line


def free_place(photo: Path, folder: Path) -> Path | None:
    """Where a photo may go in a folder; None where its content lies there under its name.

    A name that another content has gets a number: a.jpg, a-1.jpg, ...
    """
    place, number = folder / photo.name, 0
    while os.path.lexists(place):
        if place.is_file() and filecmp.cmp(photo, place, shallow=False):
            return None
        number += 1
        place = folder / f"{photo.stem}-{number}{photo.suffix}"
    return place


def move_file(source: Path, target: Path) -> None:
    """A rename; to another file system a copy that is whole and on the disk before the other goes.

    Raises CheckpointError where that cannot be; the photo then lies where it lay.
    """
    partial = _partial(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, "something lies there already")
        try:
            os.rename(source, target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            shutil.copy2(source, partial)
            _to_disk(partial)
            os.rename(partial, target)
            _to_disk(target.parent)
            source.unlink()
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise CheckpointError(
            f"{source} could not be moved to {target}: {error.strerror or error}; it lies where it "
            "lay, and what was moved before is logged"
        ) from None


def _partial(target: Path) -> Path:
    """Where a copy lies until it is whole: hidden, so that no list of photos has it."""
    return target.with_name(f".{target.name[:60]}{PARTIAL}")


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
