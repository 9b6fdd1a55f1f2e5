"""One finding as a row: its photo, what is said of it, its neighbours, and what can be done."""

from collections.abc import Callable
from functools import partial

from nicegui import ui

from carsclf.curation.page.board import Board, Finding
from carsclf.curation.page.text import gone, words
from carsclf.curation.page.thumbnails import SIDES, Thumbnails
from carsclf.data.samples import shown

ACTS = (
    ("k", "keep", "keep"),
    ("x", "leave out", "exclude"),
    ("r", "relabel", "relabel"),
    ("t", "turn", "turn"),
    ("m", "merge", "merge"),  # of pairs
)
Do = Callable[[str, int], None]  # a key, and the place of the row it is on


def box(classes: str, text: str | None = None) -> ui.element:
    """A box with text or not; text is only ever text, whatever a name holds."""
    element = ui.element("div").classes(classes)
    if text is not None:
        with element:
            ui.label(text)
    return element


def key(name: str) -> None:
    with ui.element("kbd"):
        ui.label(name)


class Row:
    """Elements of one row, made anew where its decision changes; `do` is what its buttons do."""

    def __init__(self, board: Board, thumbs: Thumbnails, place: int, do: Do) -> None:
        self.board, self.thumbs, self.place, self.do = board, thumbs, place, do
        self.finding: Finding = board.findings[place]
        self.element = ui.element("div").props(f"data-place={place}")
        self.told: tuple[object, ...] | None = None
        self.fill()

    def mark(self, *, at: bool, picked: bool) -> None:
        """Frame of the cursor, and tint of the selection."""
        edge = self.said.edge + (" split" if self.said.conflict else "")
        marks = {"pair": bool(self.finding.other), "at": at, "picked": picked}
        on = [name for name, holds in marks.items() if holds]
        self.element.classes(replace=" ".join(["row", *on, edge]))

    def fill(self) -> None:
        """What it says now; its elements stay where it says the same."""
        ledger = self.board.ledger
        self.said = words(self.board, self.place)
        photos = [(gone(self.board, id), ledger.turn(id)) for id in self.finding.photos]
        if self.told == (self.said, photos):
            return
        self.told = (self.said, photos)
        self.element.clear()
        one = self.finding
        with self.element:
            with ui.element("div"):
                self._photo(one.id, "large", SIDES[1], self.said.turn, tick=True)
            self._facts()
            if one.other:
                turn = self.board.ledger.turn(one.other)
                with ui.element("div"):
                    self._photo(one.other, "large", SIDES[1], turn)
                    self._caption(one.other_name, f"{one.other_split}, {one.other}")
            else:
                self._near(one.nearest_own, one.name, "nearest of its own class")
                self._near(one.nearest_suggested, one.suggested, "nearest of the suggested")

    def _near(self, id: str | None, name: str | None, what: str) -> None:
        with ui.element("div"):
            if id:
                self._photo(id, "small", SIDES[0], self.board.ledger.turn(id))
                self._caption(name, what)

    def _caption(self, name: str | None, what: str) -> None:
        with box("caption"):
            with ui.element("b"):
                ui.label(shown(name or ""))
            ui.label(shown(what))

    def _photo(self, id: str, size: str, side: int, turn: int, *, tick: bool = False) -> None:
        out, url = gone(self.board, id), self.thumbs.url(id, side, turn)
        with box(f"frame {size}{' out' if out else ''}") as frame:
            if url is None:
                box("none", "not among the photos")
            else:
                # the address is made of numbers alone
                ui.element("img").props(f'src="{url}" loading="lazy" alt="" draggable="false"')
            if out:
                box("badge", out)
            if tick:
                picked = box("tick", "✓")
                picked.on("click.stop", partial(self.do, "tick", self.place))
        frame.on("click.stop", partial(self.do, f"photo {id}", self.place))

    def _facts(self) -> None:
        one = self.finding
        with box("facts"):
            with box("above"):
                box("chip", one.kind.replace("_", " "))
                box("soft", one.split)
            box("label", shown(one.name))
            box("reason", shown(one.reason))
            for digit, name in enumerate(one.choices[:9], 1):
                with box("choice") as choice:
                    key(str(digit))
                    ui.label(shown(name))
                    if name == one.predicted and one.probability is not None:
                        self._sure(one.probability)
                choice.on("click.stop", partial(self.do, str(digit), self.place))
            if one.predicted == one.name and one.probability is not None:
                with box("choice"):
                    box("soft", "predicted as labelled")
                    self._sure(one.probability)
            if self.said.tag:
                box(f"tag {self.said.edge}", shown(self.said.tag))
            if self.said.conflict:
                box("warn", shown(self.said.conflict))
            with box("acts"):
                for name, what, kind in ACTS[: None if one.other else -1]:
                    with box(f"act {kind}") as act:
                        key(name)
                        ui.label(what).style("display: inline; margin-left: 5px")
                    act.on("click.stop", partial(self.do, name, self.place))
            box("id", shown(one.id))

    def _sure(self, probability: float) -> None:
        with box("sure"):
            ui.element("div").style(f"width: {100 * probability:.1f}%")
        box("soft", f"{probability:.0%}")
