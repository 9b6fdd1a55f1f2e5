"""One finding as a row: its photo, what is said of it, its neighbours, and what can be done."""

from collections.abc import Callable
from functools import partial

from nicegui import ui

from carsclf.curation.page.board import Board, Finding
from carsclf.curation.page.text import gone, words
from carsclf.curation.page.thumbnails import SIDES, Thumbnails
from carsclf.data.samples import shown

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
    """Elements of one row, made once: a click while it is drawn anew finds its button still there.

    `do` is what its buttons do.
    """

    def __init__(self, board: Board, thumbs: Thumbnails, place: int, do: Do) -> None:
        self.board, self.thumbs, self.place, self.do = board, thumbs, place, do
        self.finding: Finding = board.findings[place]
        self._frames: list[_Frame] = []
        self.element = ui.element("div").props(f"data-place={place}")
        with self.element:
            self._build()
        self.fill()

    def mark(self, *, at: bool, picked: bool) -> None:
        """Frame of the cursor, and tint of the selection."""
        edge = self.said.edge + (" split" if self.said.conflict else "")
        marks = {"pair": bool(self.finding.other), "at": at, "picked": picked}
        on = [name for name, holds in marks.items() if holds]
        self.element.classes(replace=" ".join(["row", *on, edge]))

    def fill(self) -> None:
        """What is decided now."""
        self.said = words(self.board, self.place)
        self._tag.set_text(shown(self.said.tag))
        self._tag.classes(replace=f"tag {self.said.edge}")
        self._conflict.set_text(shown(self.said.conflict))
        for frame in self._frames:
            frame.fill(self.board, self.thumbs)

    def _build(self) -> None:
        one = self.finding
        with ui.element("div"):
            self._photo(one.id, "large", SIDES[1], tick=True)
        self._facts()
        if one.other:
            with ui.element("div"):
                self._photo(one.other, "large", SIDES[1])
                self._caption(one.other_name, f"{one.other_split}, {one.other}")
        else:
            self._near(one.nearest_own, one.name, "nearest of its own class")
            self._near(one.nearest_suggested, one.suggested, self.board.manner.example)

    def _near(self, id: str | None, name: str | None, what: str) -> None:
        with ui.element("div"):
            if id:
                self._photo(id, "small", SIDES[0])
                self._caption(name, what)

    def _caption(self, name: str | None, what: str) -> None:
        with box("caption"):
            with ui.element("b"):
                ui.label(shown(name or ""))
            ui.label(shown(what))

    def _photo(self, id: str, size: str, side: int, *, tick: bool = False) -> None:
        frame = _Frame(id, size, side)
        if tick:
            with frame.element:
                picked = box("tick", "✓")
            picked.on("click.stop", partial(self.do, "tick", self.place))
        frame.element.on("click.stop", partial(self.do, f"photo {id}", self.place))
        self._frames.append(frame)

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
            self._tag, self._conflict = ui.label(), ui.label().classes("warn")
            with box("acts"):
                for name, what, kind in self.board.manner.acts:
                    if kind == "merge" and not one.other:
                        continue
                    with box(f"act {kind}") as act:
                        key(name)
                        ui.label(what).style("display: inline; margin-left: 5px")
                    act.on("click.stop", partial(self.do, name, self.place))
            box("id", shown(one.id))

    def _sure(self, probability: float) -> None:
        with box("sure"):
            ui.element("div").style(f"width: {100 * probability:.1f}%")
        box("soft", f"{probability:.0%}")


class _Frame:
    """A photo, and why it is left out where it is."""

    def __init__(self, id: str, size: str, side: int) -> None:
        self.id, self.size, self.side = id, size, side
        with box(f"frame {size}") as self.element:
            self._none = ui.label("not among the photos").classes("soft")
            self._image = ui.element("img").props('loading="lazy" draggable="false"')
            self._image.props('alt="cannot be shown"')  # seen where it is no picture
            self._badge = ui.label().classes("badge")

    def fill(self, board: Board, thumbs: Thumbnails) -> None:
        out = gone(board, self.id)
        url = thumbs.url(self.id, self.side, board.ledger.turn(self.id))
        self.element.classes(replace=f"frame {self.size}{' out' if out else ''}")
        self._badge.set_text(out)
        if url and self._image.props.get("src") != url:
            self._image.props(f'src="{url}"')  # made of numbers alone
        self._image.set_visibility(url is not None)
        self._none.set_visibility(url is None)
