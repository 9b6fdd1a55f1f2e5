"""Decisions on photos of a data set, in a CSV that only grows: what a line says, and what counts.

Of each photo the last of keep, relabel, exclude and merge counts, and beside it the last turn. A
keep that is not about the label (of a finding of another kind, say too dark) leaves a relabelling
as it is. An undo takes back the last decision of the same person on the photo that still stands.
"""

import csv
import io
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from carsclf.data.samples import list_some, shown
from carsclf.errors import DataError, nearest
from carsclf.files import check_columns

DECISIONS = ("keep", "relabel", "exclude", "turn", "merge", "undo")
LABEL = ("mislabelled", "several_classes", "label_error")  # kinds of findings about labels
ANGLES = ("0", "90", "180", "270")


@dataclass(frozen=True)
class Entry:
    """One decision. value: of relabel the class, of turn the degrees clockwise, of merge the id
    that is kept instead, of keep (of a pair) the other id."""

    when: str  # UTC, ISO 8601; those made at once share it
    who: str
    id: str
    content: str  # SHA-256 of the photo's file, or empty: not looked at
    decision: str
    value: str = ""
    kind: str = ""  # of the finding it was made on
    why: str = ""

    def line(self) -> str:
        """As one line, whatever stands in names."""
        row = io.StringIO()
        csv.writer(row, lineterminator="\n").writerow(_escaped(getattr(self, c)) for c in COLUMNS)
        return row.getvalue()

    def mistake(self) -> str | None:
        """What of it no reader could apply."""
        if self.decision not in DECISIONS:
            return (
                f"decision {shown(self.decision)!r} is unknown: {nearest(self.decision, DECISIONS)}"
            )
        if not self.id:
            return "no id"
        if self.decision == "turn" and self.value not in ANGLES:
            return f"turn {shown(self.value)!r}: expected {', '.join(ANGLES)} degrees clockwise"
        if self.decision in ("relabel", "merge") and not self.value:
            return f"{self.decision} without a value"
        return "merged into itself" if self.decision == "merge" and self.value == self.id else None


COLUMNS = tuple(f.name for f in fields(Entry))
HEADER = ",".join(COLUMNS) + "\n"
Said = tuple[int, Entry]  # with its place in the log


@dataclass
class Ledger:
    """What stands of the decisions so far, by photo, in the order in which they were made."""

    standing: dict[str, list[Said]] = field(default_factory=lambda: defaultdict(list))
    torn: int = 0  # lines that a kill or a full disk left unfinished
    length: int = 0

    def add(self, entry: Entry) -> None:
        self.length += 1
        if entry.decision != "undo":
            self.standing[entry.id].append((self.length, entry))
        elif own := [said for said in self.of(entry.id) if said[1].who == entry.who]:
            self.standing[entry.id].remove(own[-1])

    def of(self, id: str) -> Sequence[Said]:
        return self.standing.get(id, ())

    def fate(self, id: str) -> Entry | None:
        """keep, relabel, exclude or merge; None where nothing was decided.

        Of photos merged into each other in a circle, the oldest merge does not count: else all
        would be left out.
        """
        last = self._last(id)
        if last is None or last[1].decision != "merge":
            return last[1] if last else None
        way, seen = [last], {id}
        while way[-1][1].value not in seen:
            seen.add(way[-1][1].value)
            further = self._last(way[-1][1].value)
            if further is None or further[1].decision != "merge":
                return last[1]
            way.append(further)
        circle = way[-1][1].value == id
        return None if circle and last == min(way, key=lambda said: said[0]) else last[1]

    def turn(self, id: str) -> int:
        """Degrees clockwise."""
        turns = [entry for _, entry in self.of(id) if entry.decision == "turn"]
        return int(turns[-1].value) if turns else 0

    def conflict(self, id: str) -> list[Entry]:
        """The last decisions of each person on a photo, where they differ; the last counts."""
        for turned in (False, True):
            said = [s for s in self.of(id) if (s[1].decision == "turn") is turned]
            people = dict.fromkeys(e.who for _, e in said)
            each = [_folded([s for s in said if s[1].who == who]) for who in people]
            last = [s[1] for s in sorted((s for s in each if s), key=lambda s: s[0])]
            last = [e for e in last if not any(_beside(e, other) for other in last)]
            if len({(e.decision, "" if e.decision == "keep" else e.value) for e in last}) > 1:
                return last
        own = self._last(id)
        if own and own[1].decision == "merge" and self.fate(id) is None:  # merged back by another
            back = self._last(own[1].value)
            if back and back[1].who != own[1].who:
                return [own[1], back[1]]
        return []

    def ids(self) -> list[str]:
        """Of all photos on which a decision stands."""
        return [id for id, said in self.standing.items() if said]

    def latest(self, who: str) -> list[Entry]:
        """What somebody decided last, and still stands: what was decided at once, together."""
        own = [s for said in self.standing.values() for s in said if s[1].who == who]
        if not own:
            return []
        last = max(own, key=lambda said: said[0])
        if not (when := last[1].when):
            return [last[1]]
        return [entry for _, entry in sorted(own, key=lambda s: s[0]) if entry.when == when]

    def _last(self, id: str) -> Said | None:
        return _folded([said for said in self.of(id) if said[1].decision != "turn"])


def _folded(said: Sequence[Said]) -> Said | None:
    """Which of them counts."""
    counts = None
    for one in said:
        if counts is None or not _beside(one[1], counts[1]):
            counts = one
    return counts


def _beside(entry: Entry, other: Entry) -> bool:
    """Whether it is a keep that leaves a relabelling as it is: the photo is not too dark, say."""
    both = (entry.decision, other.decision) == ("keep", "relabel")
    return both and entry.kind not in ("", other.kind, *LABEL)


def read_ledger(content: bytes, path: Path) -> Ledger:
    """What a file says. Lines that were not finished are passed over and counted.

    Raises DataError for what is no list of decisions, naming the line that is wrong.
    """
    ledger, (names, lines) = Ledger(), _lines(content, path)
    for number, line in lines:
        row = _cells(line)
        if row is None or (len(row) < len(names) and names == [*COLUMNS]):
            ledger.torn += 1
            continue
        if len(row) > len(names):
            raise DataError(
                f"{path}, line {number}: more cells than there are columns: put names with a comma "
                "in double quotes"
            )
        given = dict(zip(names, map(_plain, row), strict=False))  # last cells may be left away
        entry = Entry(**{column: given.get(column, "") for column in COLUMNS})
        if not entry.decision:  # a list to decide on
            continue
        if wrong := entry.mistake():
            raise DataError(f"{path}, line {number}: {wrong}")
        ledger.add(entry)
    return ledger


def _lines(content: bytes, path: Path) -> tuple[list[str], list[tuple[int, str]]]:
    """The columns' names, and the other lines with their numbers."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if content.rfind(b"\n") >= error.start:
            raise DataError(f"{path} is not UTF-8: is it a list of decisions?") from None
        text = content[: error.start].decode("utf-8-sig")  # killed within a letter
    lines = [line.rstrip("\r") for line in text.split("\n")]
    names = [name.strip() for name in _cells(lines[0]) or ()]
    check_columns(names, str(path))
    if "id" not in names or "decision" not in names:
        raise DataError(
            f"{path}: expected a CSV with the columns {', '.join(COLUMNS)} (id and decision at "
            f"least), found {list_some(names) or 'none'}"
        )
    return names, [(n, line) for n, line in enumerate(lines[1:], 2) if line.strip()]


def _cells(line: str) -> list[str] | None:
    """None for half a line."""
    try:
        return next(csv.reader([line], strict=True), [])
    except csv.Error:
        return None


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")


def _plain(text: str) -> str:
    """What `_escaped` was given."""
    parts = [part.replace("\\n", "\n").replace("\\r", "\r") for part in text.split("\\\\")]
    return "\\".join(parts)
