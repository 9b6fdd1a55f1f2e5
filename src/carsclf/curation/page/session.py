"""What keys and clicks do, and what lies over the rows; nothing here knows how it is drawn."""

from collections.abc import Callable
from dataclasses import dataclass, field

from carsclf.curation.page.review import PAGE, Review
from carsclf.data.samples import shown
from carsclf.errors import CarsclfError

STEPS = {
    "ArrowDown": 1, "ArrowUp": -1, "ArrowRight": PAGE, "ArrowLeft": -PAGE,
    "PageDown": PAGE, "PageUp": -PAGE,
}  # fmt: skip


@dataclass
class Asked:
    """A class is asked for by typing a part of its name. `take` gets None where Enter comes before
    anything was typed or chosen."""

    title: str
    take: Callable[[str | None], None]
    typed: str = ""
    choice: int = 0


@dataclass
class Session:
    """One tab: its review, what was said last, and what is open: a question, a photo, the keys."""

    review: Review
    said: str = ""
    bad: bool = False
    open: Asked | str | None = None  # "keys", or the id of the photo that is enlarged
    _photo: int = field(default=0, repr=False)

    def press(self, name: str, *, shift: bool = False, repeat: bool = False) -> None:
        """A key goes to what is open, else to the rows; one that is held decides once."""
        if isinstance(self.open, Asked):
            self._type(self.open, name)
        elif self.open is not None and name != "Enter":
            self.open = None
        elif name in STEPS:
            self.review.move(STEPS[name], extend=shift)
        elif name in ("Home", "End"):
            self.review.go(0 if name == "Home" else len(self.review.order), extend=shift)
        elif not repeat:
            self._command(name)

    def click(self, what: str, place: int) -> None:
        """A click is what its key is, on its own row, or on the selection it belongs to.

        what: a key, `tick`, `photo <id>`, or empty: the row alone.
        """
        review = self.review
        if place not in review.order:
            return
        if what != "tick" and place not in review.selected:
            review.selected.clear()
        review.go(review.order.index(place))
        if what == "tick":
            review.toggle()
        elif what.startswith("photo "):
            self.open = what.removeprefix("photo ")
            self._photo = review.board.findings[place].photos.index(self.open)
        elif what:
            self._command(what)

    def take(self, name: str | None) -> None:
        """Answers the question that is open."""
        if isinstance(asked := self.open, Asked):
            self.open = None
            asked.take(name)

    def matches(self) -> list[str]:
        """What the question that is open may be answered with."""
        return self.review.matches(self.open.typed) if isinstance(self.open, Asked) else []

    def tell(self, text: str, *, bad: bool = False) -> None:
        self.said, self.bad = shown(text), bad

    def _command(self, name: str) -> None:
        review, name = self.review, name if len(name) > 1 else name.lower()
        free: dict[str, Callable[[], object]] = {
            " ": review.toggle, "a": review.select_all, "Escape": review.selected.clear,
            "n": self._next, "f": self._hide, "c": self._of_class, "r": self._of_photos,
            "Enter": self._enlarge, "?": self._keys,
        }  # fmt: skip
        decide: dict[str, Callable[[], str]] = {
            "k": review.keep, "x": review.exclude, "t": review.turn, "m": review.merge,
            "u": review.undo,
        }  # fmt: skip
        if name in free:
            free[name]()
        elif name in decide and (name == "u" or review.board.manner.allows(name)):
            self._decide(decide[name])
        elif name in "123456789":
            self._decide(lambda: review.pick(int(name)))

    def _decide(self, decide: Callable[[], str]) -> None:
        """Tells what was done, or why nothing was."""
        try:
            self.tell(decide())
        except CarsclfError as error:
            self.tell(str(error), bad=True)

    def _next(self) -> None:
        if not self.review.next_open():
            self.tell("all of these are decided")

    def _hide(self) -> None:
        self.review.show(self.review.kind, self.review.name, not self.review.undecided)

    def _keys(self) -> None:
        self.open = "keys"

    def _of_photos(self) -> None:
        def relabel(name: str | None) -> None:
            if name is not None:
                self._decide(lambda: self.review.relabel(name))

        if count := len(self.review.meant):
            what = "The photo is of class" if count == 1 else f"{count:,} photos are of class"
            self.open = Asked(what, relabel)

    def _of_class(self) -> None:
        def show(name: str | None) -> None:
            self.review.show(self.review.kind, name, self.review.undecided)

        self.open = Asked("Only findings that name the class", show)

    def _type(self, asked: Asked, name: str) -> None:
        """A key while a class is asked for."""
        found = self.matches()
        if name == "Escape":
            self.open = None
        elif name == "Enter":
            if found:
                self.take(found[asked.choice] if asked.typed or asked.choice else None)
        elif name in ("ArrowDown", "ArrowUp"):
            step = 1 if name == "ArrowDown" else -1
            asked.choice = max(0, min(asked.choice + step, len(found) - 1))
        elif name == "Backspace":
            asked.typed, asked.choice = asked.typed[:-1], 0
        elif len(name) == 1:
            asked.typed, asked.choice = asked.typed + name, 0

    def _enlarge(self) -> None:
        """The photo of the cursor's row; again, the other of a pair or the nearest ones."""
        current = self.review.current
        photos = self.review.board.findings[current].photos if current is not None else []
        self._photo = self._photo + 1 if self.open is not None else 0
        self.open = photos[self._photo] if self._photo < len(photos) else None
