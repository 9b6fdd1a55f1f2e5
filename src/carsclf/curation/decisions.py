"""A list of decisions on photos: read, and each one checked before any photo moves.

A row names a photo (`path`, or `id`, its path below the folder of photos), the `decision` (a class,
quarantine or skip; empty: not decided yet), and `who`, `when`, `why`. What the sorting page writes
is such a list, too (`data/decision_log.py`): of each person the last word on a photo counts.
"""

import csv
import os
import stat
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from carsclf.data.decision_log import Ledger, read_ledger
from carsclf.data.fingerprints import content_hash
from carsclf.data.samples import list_some, shown
from carsclf.errors import DataError, nearest
from carsclf.files import table_of

QUARANTINE, SKIP = "quarantine", "skip"
OF_TRAINING = "/"  # of a page's log: a turn or a merge, which is no folder
NOTES = ("who", "when", "why")
LONGEST = 255  # bytes of a folder's name


@dataclass(frozen=True)
class Decision:
    """What is to become of one photo. notes: who, when, why; sure: it is known by its content."""

    photo: Path  # absolute
    decision: str
    notes: Mapping[str, str]
    sure: bool = False


@dataclass
class Reading:
    """What a list of decisions came to. `refused`, `conflicts`: a line each, with the reason."""

    decisions: list[Decision] = field(default_factory=list)
    skipped: int = 0
    undecided: int = 0
    refused: list[str] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)


def read_decisions(
    path: Path, photos: Path, classes: Collection[str], new: Collection[str] = ()
) -> Reading:
    """The decisions that can be applied to the photos below a folder, and why others cannot.

    classes: folders of the library; new: further ones that may be made. Raises DataError for a file
    that is no such list, or is one of another folder.
    """
    rows, photos = _rows(path), Path(os.path.abspath(photos))
    outside = [
        row.get("path", "") for row in rows if not place_of(row, photos).is_relative_to(photos)
    ]
    if outside and len(outside) == len(rows):
        raise DataError(
            f"decisions={path}: none of its {len(rows)} photos lies below {photos} "
            f"({list_some(outside, 2)}): it is a list of another folder; is photos= right?"
        )
    reading, said = Reading(), dict[Path, Decision]()
    contested: dict[Path, list[Decision]] = {}
    training: list[str] = []
    for number, row in enumerate(rows, 2):
        photo, decision = place_of(row, photos), row["decision"]
        if not decision:
            reading.undecided += 1
            continue
        if decision == OF_TRAINING:
            training.append(photo.name)
            continue
        wrong = (
            why_no_photo(photo, photos, row)
            or _why_no_class(decision, classes, new)
            or _why_another(photo, row.get("content"))
        )
        if wrong:
            name = shown(row.get("path") or row.get("id") or "")
            reading.refused.append(f"line {number}, {name}: {wrong}")
            continue
        notes = {note: row.get(note, "") for note in NOTES}
        one = Decision(photo, decision, notes, bool(row.get("content")))
        first = said.setdefault(photo, one)
        if first.decision != decision:
            contested.setdefault(photo, [first]).append(one)
    if training:
        reading.refused.append(
            f"{len(training)} turns and merges ({list_some(training, 3)}) move no photo: training "
            f"applies them with data.decisions={path}"
        )
    for photo, several in contested.items():
        told = [f"{d.decision} ({d.notes['who'] or 'unnamed'})" for d in several]
        reading.conflicts.append(f"{shown(str(photo))}: {list_some(told)}")
    kept = [d for photo, d in said.items() if photo not in contested]
    reading.decisions = [d for d in kept if d.decision != SKIP]
    reading.skipped = len(kept) - len(reading.decisions)
    return reading


def why_no_photo(photo: Path, photos: Path, row: Mapping[str, str] | None = None) -> str | None:
    """Why a photo may not be moved: it lies elsewhere, or the way to it leads elsewhere."""
    given = (row or {}).get("path") or (row or {}).get("id") or str(photo)
    if "\0" in given:
        return "a name with a NUL byte"
    if ".." in Path(given).parts:
        return "a path with '..'"
    if not photo.is_relative_to(photos) or photo == photos:
        return f"not below {photos}"
    try:
        if not Path(os.path.realpath(photo.parent)).is_relative_to(os.path.realpath(photos)):
            return f"the way to it leads out of {photos} through a link"
        kind = os.lstat(photo).st_mode
    except FileNotFoundError:
        return None  # moved already, perhaps: the log knows
    except OSError as error:
        return f"cannot be looked at ({error.strerror})"
    if stat.S_ISLNK(kind):
        return "a link: decide on the photo that it leads to"
    return None if stat.S_ISREG(kind) else "no file"


def _why_another(photo: Path, content: str | None) -> str | None:
    """Why it is not the photo that was decided on, where that is known; one that moved may be."""
    try:
        same = not content or content_hash(photo.read_bytes()) == content
    except OSError:
        return None
    return None if same else "its content is not what it was when this was decided"


def why_no_folder(name: str) -> str | None:
    """Why a class of that name cannot be one folder below the library."""
    if name in (".", "..") or "/" in name or "\\" in name or name.startswith("."):
        return f"{shown(name)!r} is no name of a folder"
    if not name.isprintable() or name != name.strip() or len(os.fsencode(name)) > LONGEST:
        return f"{shown(name[:60])!r} is no name of a folder"
    return None


def _why_no_class(decision: str, classes: Collection[str], new: Collection[str]) -> str | None:
    if decision in (QUARANTINE, SKIP):
        return None
    if wrong := why_no_folder(decision):
        return wrong
    if decision in classes or decision in new:
        return None
    return (
        f"the library has no class {shown(decision)!r}: "
        f"{nearest(decision, [*sorted(classes), QUARANTINE, SKIP])}; a new one is named with "
        f"new=[{decision}]"
    )


def classes_in(library: Path) -> list[Path]:
    """The folders of the classes, by name."""
    return sorted(p for p in library.iterdir() if p.is_dir() and not p.name.startswith("."))


def place_of(row: Mapping[str, str], photos: Path) -> Path:
    """Absolute, without following links; what is no path at all stays outside."""
    given = row.get("path") or row.get("id") or ""
    return Path("/") if not given or "\0" in given else Path(os.path.normpath(photos / given))


def _rows(path: Path) -> list[dict[str, str]]:
    """The rows as text. Raises DataError for what is no such CSV."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = table_of(file, f"decisions={path}")
            names = [*(table.fieldnames or ())]
            if "value" in names:
                return _logged(read_ledger(path.read_bytes(), path))
            rows = [
                {k: (v or "").strip(" \t") if k != "path" else v or "" for k, v in row.items() if k}
                for row in table
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"decisions={path} cannot be read as a CSV ({error})") from None
    if "decision" not in names or not {"path", "id"} & set(names):
        raise DataError(
            f"decisions={path}: expected the columns path (or id) and decision, found "
            f"{list_some(names) or 'none'}"
        )
    return rows


def _logged(ledger: Ledger) -> list[dict[str, str]]:
    """What a page's log comes to, as rows of a list; those who differ have a row each."""
    rows = []
    for id in ledger.ids():
        fate = ledger.fate(id)
        if ledger.turn(id) or (fate and fate.decision == "merge"):
            rows.append({"id": id, "decision": OF_TRAINING})
        differing = [entry for entry in ledger.conflict(id) if entry.decision != "turn"]
        for entry in differing or ([fate] if fate else []):
            decision = {"relabel": entry.value, "exclude": QUARANTINE, "keep": SKIP}
            if differing:
                decision["merge"] = SKIP  # which moves nothing, and is another word
            if entry.decision in decision:
                notes = {note: getattr(entry, note) for note in NOTES}
                rows.append({"id": id, "content": entry.content, **notes,
                             "decision": decision[entry.decision]})  # fmt: skip
    return rows
