"""What all who look at the page share: the findings, the decisions, and which are settled."""

import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from carsclf.curation.findings import KINDS
from carsclf.curation.page.log import append, check_columns
from carsclf.curation.page.manner import CLEANING, Manner
from carsclf.data.decision_log import LABEL, Entry, Ledger, read_ledger
from carsclf.data.fingerprints import content_hash
from carsclf.data.samples import list_some
from carsclf.errors import DataError

GONE = ("exclude", "merge")


@dataclass(frozen=True)
class Finding:
    """A row of the table that is about a photo, or about two (`other`)."""

    kind: str
    id: str
    name: str  # of its class
    reason: str
    split: str = ""
    suggested: str | None = None
    predicted: str | None = None
    probability: float | None = None
    other: str | None = None
    other_name: str | None = None
    other_split: str | None = None
    nearest_own: str | None = None
    nearest_suggested: str | None = None

    @property
    def choices(self) -> list[str]:
        """Classes that a digit gives it: 1 is the one suggested, where there is one."""
        likely = (self.suggested, self.predicted, self.other_name)
        return [name for name in dict.fromkeys(likely) if name and name != self.name]

    @property
    def photos(self) -> list[str]:
        """Ids of all photos that are shown."""
        shown = (self.id, self.other, self.nearest_own, self.nearest_suggested)
        return [id for id in shown if id]


def findings_of(table: pd.DataFrame) -> list[Finding]:
    """Rows about classes are left out: there is no photo to decide on."""
    names = {"name": "class", "other_name": "other_class"}
    columns = [names.get(key, key) for key in Finding.__dataclass_fields__]
    rows: Any = table[table["id"].notna()][columns]
    given = rows.astype(object).where(rows.notna(), None)
    return [Finding(*row) for row in given.itertuples(index=False, name=None)]


@dataclass
class Board:
    """One per folder of findings; `path` is its decisions.csv, which others may write to, too.

    photos: where all photos of the data set lie, by id. Changes are made under `lock`.
    """

    findings: Sequence[Finding]
    photos: Mapping[str, Path]
    class_names: Sequence[str]
    path: Path
    manner: Manner = CLEANING
    ledger: Ledger = field(default_factory=Ledger)
    version: int = 0  # of what is decided
    lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self._about: dict[str, list[int]] = defaultdict(list)
        for place, finding in enumerate(self.findings):
            for id in {finding.id, finding.other} - {None}:
                self._about[str(id)].append(place)
        self.total = Counter(finding.kind for finding in self.findings)
        self._done = [False] * len(self.findings)
        self._read = -1  # bytes of the file that the ledger knows
        self.refresh()
        strange = [id for id in self.ledger.ids() if id not in self.photos]
        # photos that were sorted have gone, as they should
        if self.manner is CLEANING and strange and len(strange) == len(self.ledger.ids()):
            raise DataError(
                f"{self.path}: none of its {len(strange)} photos ({list_some(strange, 3)}) is one "
                "of these data: it holds decisions on another data set; move it elsewhere"
            )

    def refresh(self) -> bool:
        """Whether others have decided since; their decisions are known then."""
        with self.lock:
            size = self.path.stat().st_size if self.path.is_file() else 0
            if size == self._read:
                return False
            content = self.path.read_bytes() if size else b""
            check_columns(self.path, content)
            self.ledger = read_ledger(content, self.path) if content else Ledger()
            self._read = len(content)
            self._settle(range(len(self.findings)))
            return True

    def decide(self, who: str, meant: Iterable[Entry]) -> None:
        """Writes decisions made at once, and only then takes them as made.

        meant: without who and when. Raises CheckpointError where they cannot be written.
        """
        when = datetime.now(UTC).isoformat(timespec="microseconds")
        entries = [replace(entry, who=who, when=when) for entry in meant]
        with self.lock:
            self.refresh()
            self._read += len(append(self.path, entries))
            for entry in entries:
                self.ledger.add(entry)
            ids = {id for e in entries for id in (e.id, e.value if e.decision == "merge" else e.id)}
            near = {place for id in ids for place in self._about.get(id, ())}
            undone = any(entry.decision == "undo" for entry in entries)
            self._settle(range(len(self.findings)) if undone else near)

    def content(self, id: str) -> str:
        """SHA-256 of the photo as it is now; empty where it cannot be read."""
        try:
            return content_hash(self.photos[id].read_bytes())
        except (OSError, KeyError):
            return ""

    def settled(self, place: int) -> bool:
        """Whether a finding is decided on."""
        return self._done[place]

    def progress(self) -> dict[str, tuple[int, int]]:
        """Settled findings and all, of each kind that there is."""
        kinds = [*(kind for kind in KINDS if kind in self.total), *(self.total.keys() - KINDS)]
        return {kind: (self._settled[kind], self.total[kind]) for kind in kinds}

    def shown(self, place: int) -> Entry | None:
        """The decision that a finding's row shows."""
        finding = self.findings[place]
        if finding.other:
            there = self.ledger.fate(finding.other)
            if there and there.decision == "merge" and there.value == finding.id:
                return there
        fate = self.ledger.fate(finding.id)
        if fate or not self.ledger.turn(finding.id):
            return fate
        return [e for _, e in self.ledger.of(finding.id) if e.decision == "turn"][-1]

    def _settle(self, places: Iterable[int]) -> None:
        for place in places:
            self._done[place] = self._is_settled(self.findings[place])
        done = (f.kind for f, done in zip(self.findings, self._done, strict=True) if done)
        self._settled = Counter(done)
        self.version += 1

    def _is_settled(self, finding: Finding) -> bool:
        fates = [self.ledger.fate(id) for id in (finding.id, finding.other) if id]
        if any(fate and fate.decision in GONE for fate in fates):
            return True
        return any(_settles(entry, finding) for _, entry in self.ledger.of(finding.id))


def _settles(entry: Entry, finding: Finding) -> bool:
    """Whether a decision on the photo, which stays, is one on this finding."""
    label = finding.kind in LABEL
    if entry.decision == "relabel":
        return label or entry.kind == finding.kind
    if entry.decision == "turn":
        return finding.kind == "on_its_side"
    if finding.other:
        return entry.value == finding.other
    return entry.kind == finding.kind or not entry.kind or (label and entry.kind in LABEL)
