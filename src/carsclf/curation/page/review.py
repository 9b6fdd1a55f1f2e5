"""One person's way through the findings: where they are, what is selected, what they decide."""

import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from carsclf.curation.decisions import why_no_folder
from carsclf.curation.page.board import Board, Finding
from carsclf.data.decision_log import Entry

PAGE = 8  # rows at once
MATCHES = 9
TURN = 90


@dataclass
class Review:
    """Places are those of the board's findings; positions those of `order`, which is filtered.

    Deciding returns what was done, in words; with a selection it is on all of it, else on the row
    of the cursor, which then goes on to the next that is not settled.
    """

    board: Board
    who: str
    kind: str | None = None
    name: str | None = None  # of a class
    undecided: bool = False
    cursor: int = 0
    selected: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.order: list[int] = []
        self._anchor = 0
        self.show(self.kind)

    def show(self, kind: str | None, name: str | None = None, undecided: bool = False) -> None:
        """Only findings of a kind, with a class, not settled yet; from the first on."""
        self.kind, self.name, self.undecided = kind, name, undecided
        self.order = [
            place
            for place, one in enumerate(self.board.findings)
            if (kind is None or one.kind == kind)
            and (name is None or name in (one.name, one.suggested, one.other_name))
            and not (undecided and self.board.settled(place))
        ]
        self.cursor = self._anchor = 0
        self.selected.clear()

    @property
    def current(self) -> int | None:
        """The place under the cursor."""
        return self.order[self.cursor] if self.order else None

    @property
    def page(self) -> int:
        return self.cursor // PAGE

    @property
    def pages(self) -> int:
        return max(1, -(-len(self.order) // PAGE))

    @property
    def rows(self) -> list[int]:
        """The places on this page."""
        return self.order[self.page * PAGE : (self.page + 1) * PAGE]

    def move(self, by: int, *, extend: bool = False) -> None:
        """Moves the cursor; `extend` selects all from where it began to."""
        self.go(self.cursor + by, extend=extend)

    def go(self, position: int, *, extend: bool = False) -> None:
        self.cursor = max(0, min(position, len(self.order) - 1))
        if extend:
            one, two = sorted((self._anchor, self.cursor))
            self.selected |= set(self.order[one : two + 1])
        else:
            self._anchor = self.cursor

    def toggle(self) -> None:
        """Selects the row of the cursor, or no longer."""
        if self.current is not None:
            self.selected ^= {self.current}
            self._anchor = self.cursor

    def select_all(self) -> None:
        """All that the filter shows, on all pages; nothing where all is selected."""
        self.selected = set() if len(self.selected) == len(self.order) else {*self.order}

    def next_open(self) -> bool:
        """Goes to the next finding that is not settled, from the start again after the end."""
        count = len(self.order)
        for step in range(1, count + 1):
            position = (self.cursor + step) % count
            if not self.board.settled(self.order[position]):
                self.go(position)
                return True
        return False

    @property
    def meant(self) -> list[int]:
        """The places that a decision is on, in order."""
        if self.selected:
            return sorted(self.selected)
        return [] if self.current is None else [self.current]

    def keep(self) -> str:
        done = self.board.manner.done["keep"]
        return self._decide(done, lambda f: [_on(f, "keep", f.other or "")])

    def exclude(self) -> str:
        return self._decide(self.board.manner.done["exclude"], lambda f: [_on(f, "exclude")])

    def relabel(self, name: str) -> str:
        """Gives the photos a class of the data, or where that is allowed a new one."""
        manner = self.board.manner
        if name not in self.board.class_names:
            wrong = why_no_folder(name) if manner.new_classes else "no class of these photos"
            if wrong:
                return f"{name}: {wrong}"
        return self._decide(f"{manner.done['relabel']} {name}", lambda f: [_on(f, "relabel", name)])

    def pick(self, digit: int) -> str:
        """Gives each photo the class that its row shows with this digit; others stay."""

        def entries(finding: Finding) -> list[Entry]:
            names = finding.choices[digit - 1 : digit]
            return [_on(finding, "relabel", name) for name in names]

        return self._decide(f"relabelled by {digit}", entries)

    def turn(self) -> str:
        """Turns the photos by another 90 degrees, clockwise; the cursor stays."""

        def entries(finding: Finding) -> list[Entry]:
            degrees = (self.board.ledger.turn(finding.id) + TURN) % 360
            return [_on(finding, "turn", str(degrees))]

        return self._decide("turned", entries, stay=True)

    def merge(self) -> str:
        """Keeps one of a pair: the first, or where that is decided so already, the other."""

        def entries(finding: Finding) -> list[Entry]:
            if finding.other is None:
                return []
            there = self.board.ledger.fate(finding.other)
            ends = (finding.id, finding.other)
            if there and there.decision == "merge" and there.value == finding.id:
                ends = (finding.other, finding.id)
            kept, out = ends
            return [Entry("", "", out, "", "merge", kept, finding.kind, finding.reason)]

        return self._decide("merged", entries, stay=len(self.meant) == 1)

    def undo(self) -> str:
        """Takes back what this person did last, also before the page was opened anew."""
        with self.board.lock:
            self.board.refresh()
            last = self.board.ledger.latest(self.who)
            if not last:
                return "nothing to take back"
            taken = [Entry("", "", e.id, "", "undo", "", e.kind, e.decision) for e in last]
            self.board.decide(self.who, reversed(taken))
        ids = {e.id for e in last} | {e.value for e in last if e.decision == "merge"}
        back = (n for n, place in enumerate(self.order) if self.board.findings[place].id in ids)
        self.go(next(back, self.cursor))
        return f"taken back: {last[0].decision} of {_photos(len(last))}"

    def matches(self, typed: str) -> list[str]:
        """Classes that have all of the words typed, those that begin so first.

        Where new classes are allowed, what was typed is the last of them, if no class has it.
        """
        words, new = _plain(typed).split(), " ".join(typed.split())
        names = [*self.board.class_names, *self._new_names()]
        found = [n for n in names if all(word in _plain(n) for word in words)]
        found = sorted(found, key=lambda n: not _plain(n).startswith(" ".join(words)))[:MATCHES]
        known = _plain(new) in map(_plain, names)
        return [*found, new] if new and self.board.manner.new_classes and not known else found

    def _new_names(self) -> list[str]:
        """Classes that decisions have made so far."""
        if not self.board.manner.new_classes:
            return []
        fates = map(self.board.ledger.fate, self.board.ledger.ids())
        names = {e.value for e in fates if e and e.decision == "relabel"}
        return sorted(names - {*self.board.class_names})

    def _decide(
        self, done: str, entries: Callable[[Finding], Iterable[Entry]], *, stay: bool = False
    ) -> str:
        places = self.meant
        meant: dict[tuple[str, str], Entry] = {}
        with self.board.lock:
            self.board.refresh()
            for place in places:
                finding = self.board.findings[place]
                for entry in entries(finding):
                    again = self._again(finding, entry)
                    for one in (*again, entry):  # a photo of several findings once
                        meant[one.id, "turn" if one.decision == "turn" else ""] = one
            if not meant:
                return "nothing of that can be done here"
            seen = {id: self.board.content(id) for id in {e.id for e in meant.values()}}
            told = [_with_content(entry, seen[entry.id]) for entry in meant.values()]
            self.board.decide(self.who, told)
        if self.selected:
            self.selected.clear()
        elif not stay:
            self.next_open()
        return f"{_photos(len(seen))} {done}"

    def _again(self, finding: Finding, entry: Entry) -> list[Entry]:
        """The other of a pair comes back where it was merged into this one, and no longer is."""
        if finding.other is None or entry.decision not in ("keep", "exclude"):
            return []
        there = self.board.ledger.fate(finding.other)
        if there is None or there.decision != "merge" or there.value != finding.id:
            return []
        return [Entry("", "", finding.other, "", "keep", finding.id, finding.kind, finding.reason)]


def _on(finding: Finding, decision: str, value: str = "") -> Entry:
    return Entry("", "", finding.id, "", decision, value, finding.kind, finding.reason)


def _with_content(entry: Entry, content: str) -> Entry:
    return Entry("", "", entry.id, content, *(entry.decision, entry.value, entry.kind, entry.why))


def _photos(count: int) -> str:
    return "1 photo" if count == 1 else f"{count:,} photos"


def _plain(text: str) -> str:
    """Without accents and capitals, as one types in a hurry."""
    parts = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in parts if not unicodedata.combining(c))
