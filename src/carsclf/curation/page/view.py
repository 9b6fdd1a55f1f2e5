"""The page as one browser tab shows it; all it knows is in a Review."""

from collections.abc import Callable
from functools import partial

from nicegui import ui
from nicegui.events import KeyEventArguments

from carsclf.curation.findings import KINDS
from carsclf.curation.page.review import PAGE, Review
from carsclf.curation.page.rows import Row, box, key
from carsclf.curation.page.sheets import Veil
from carsclf.curation.page.style import CSS, KEYS
from carsclf.curation.page.thumbnails import SIDES, Thumbnails
from carsclf.data.samples import shown
from carsclf.errors import CarsclfError

LOOK = 2.0  # seconds after which others' decisions are seen


class View:
    """Events come one after the other, each done before the next: what is typed is what is done."""

    def __init__(self, review: Review, thumbs: Thumbnails) -> None:
        self.review, self.board, self.thumbs = review, review.board, thumbs
        self.rows: list[Row] = []
        self.bars: dict[str | None, tuple[ui.element, ui.label, ui.element]] = {}
        self._shown: tuple[list[int], int] | None = None
        self._enlarged = 0
        self._build()
        self.refresh()

    def on_key(self, event: KeyEventArguments) -> None:
        """Every key that is pressed goes to what is open, else to the rows."""
        modifiers = event.modifiers
        if event.action.keydown and not (modifiers.ctrl or modifiers.meta or modifiers.alt):
            self.press(event.key.name, shift=modifiers.shift, repeat=event.action.repeat)

    def press(self, name: str, *, shift: bool = False, repeat: bool = False) -> None:
        if self.veil.open == "classes":
            return self.veil.type(name)
        if self.veil.open and name != "Enter":
            return self.veil.close()
        steps = {"ArrowDown": 1, "ArrowUp": -1, "ArrowRight": PAGE, "ArrowLeft": -PAGE}
        steps |= {"PageDown": PAGE, "PageUp": -PAGE}
        if name in steps:
            self.review.move(steps[name], extend=shift)
        elif name in ("Home", "End"):
            self.review.go(0 if name == "Home" else len(self.review.order), extend=shift)
        elif not repeat:  # a key that is held decides once
            self._command(name)
        self.refresh()
        return None

    def _command(self, name: str) -> None:
        review, name = self.review, name if len(name) > 1 else name.lower()
        free: dict[str, Callable[[], object]] = {
            " ": review.toggle, "a": review.select_all, "n": self._next, "f": self._hide,
            "?": self.veil.help, "Enter": self._enlarge, "r": self._ask,
            "Escape": review.selected.clear, "c": self._of_class,
        }  # fmt: skip
        decide: dict[str, Callable[[], str]] = {
            "k": review.keep, "x": review.exclude, "t": review.turn, "m": review.merge,
            "u": review.undo,
        }  # fmt: skip
        if name in free:
            free[name]()
        elif name in decide:
            self._say(decide[name])
        elif name.isdecimal() and name.isascii() and name != "0":
            self._say(lambda: review.pick(int(name)))

    def _say(self, decide: Callable[[], str]) -> None:
        """Decides, and tells what was done, or why nothing was."""
        try:
            self._tell(decide())
        except CarsclfError as error:
            self._tell(str(error), bad=True)

    def _tell(self, text: str, *, bad: bool = False) -> None:
        self.said.set_text(shown(text))
        self.said.classes(replace="said bad" if bad else "said")

    def _next(self) -> None:
        if not self.review.next_open():
            self._tell("all of these are decided")

    def _hide(self) -> None:
        review = self.review
        review.show(review.kind, review.name, not review.undecided)

    def _ask(self) -> None:
        """Of which class the photos are; nothing where there is no photo."""
        if count := len(self.review.meant):
            title = "The photo is of class" if count == 1 else f"{count:,} photos are of class"
            self.veil.ask(title, self._relabel)

    def _relabel(self, name: str | None) -> None:
        if name is not None:
            self._say(lambda: self.review.relabel(name))
        self.refresh()

    def _of_class(self) -> None:
        self.veil.ask("Only findings that name the class", self._filter_class)

    def _filter_class(self, name: str | None) -> None:
        self.review.show(self.review.kind, name, self.review.undecided)
        self.refresh()

    def _enlarge(self) -> None:
        """The photo of the cursor's row; again, the other of a pair or the nearest ones."""
        current = self.review.current
        photos = self.board.findings[current].photos if current is not None else []
        self._enlarged = self._enlarged + 1 if self.veil.open == "photo" else 0
        if self._enlarged < len(photos):
            self._photo(photos[self._enlarged])
        else:
            self.veil.close()

    def _photo(self, id: str) -> None:
        if url := self.thumbs.url(id, SIDES[2], self.board.ledger.turn(id)):
            self.veil.photo(url)

    def _clicked(self, what: str, place: int) -> None:
        """A click is what its key is, on its own row, or on the selection it belongs to."""
        review = self.review
        if place not in review.order:
            return
        if what != "tick" and place not in review.selected:
            review.selected.clear()
        review.go(review.order.index(place))
        if what == "tick":
            review.toggle()
        elif what.startswith("photo "):
            self._enlarged = self.board.findings[place].photos.index(what.removeprefix("photo "))
            self._photo(what.removeprefix("photo "))
        elif what:
            self._command(what)
        self.refresh()

    def _look(self) -> None:
        """Others may have decided meanwhile."""
        try:
            self.board.refresh()
        except CarsclfError as error:
            self._tell(str(error), bad=True)
        if any(row.version != self.board.version for row in self.rows):
            self.refresh()

    def refresh(self) -> None:
        """Shows what the review says: rows only where they are others, or decided anew."""
        review = self.review
        if [row.place for row in self.rows] != review.rows:
            self.list.clear()
            with self.list:
                self.rows = [
                    Row(self.board, self.thumbs, place, self._clicked) for place in review.rows
                ]
                for row in self.rows:
                    row.element.on("click", partial(self._clicked, "", row.place))
                if not self.rows:
                    box("empty", "Nothing is left here.")
        for row in self.rows:
            row.fill()
            row.mark(at=row.place == review.current, picked=row.place in review.selected)
        if self.rows and (self._shown is None or self._shown != (review.rows, review.cursor)):
            self._shown = (review.rows, review.cursor)
            ui.run_javascript(
                f"document.querySelector('[data-place=\"{review.current}\"]')"
                "?.scrollIntoView({block: 'nearest'})"
            )
        self._count()

    def _count(self) -> None:
        review, progress = self.review, self.board.progress()
        progress_of: dict[str | None, tuple[int, int]] = {**progress}
        done, total = (sum(counts[i] for counts in progress.values()) for i in (0, 1))
        progress_of[None] = (done, total)
        for kind, (line, label, bar) in self.bars.items():
            some, all = progress_of[kind]
            line.classes(replace=f"kind{' on' if kind == review.kind else ''}")
            label.set_text(f"{some:,} of {all:,}")
            bar.style(f"width: {100 * some / max(all, 1):.2f}%")
        at = f"{review.cursor + 1:,} of {len(review.order):,}" if review.order else "0"
        self.at.set_text(f"{at} · page {review.page + 1:,} of {review.pages:,}")
        chosen = len(review.selected)
        self.chosen.set_text(f"{chosen:,} selected" if chosen else "")
        self.only.set_text(f"only {shown(review.name)}" if review.name else "")
        self.hide.classes(replace=f"act{' on' if review.undecided else ''}")

    def _build(self) -> None:
        ui.add_css(CSS)
        ui.add_head_html(KEYS)
        ui.keyboard(self.on_key, ignore=["input", "textarea"])
        with box("side"):
            with ui.element("h1"):
                ui.label("Cleaning")
            self._kinds()
        with box("main"):
            self._top()
            self.list = box("rows")
        self.veil = Veil(self.review.matches)
        ui.timer(LOOK, self._look)

    def _kinds(self) -> None:
        for kind in (None, *self.board.progress()):
            with box("kind") as line:
                with box("name"):
                    ui.label("all findings" if kind is None else kind.replace("_", " "))
                label = ui.label().classes("soft")
                with box("bar"):
                    bar = ui.element("div")
            line.on("click", partial(self._filter, kind))
            line.props["title"] = KINDS.get(kind or "", "")
            self.bars[kind] = (line, label, bar)
        box("grow")
        box("soft whole", f"decided as {shown(self.review.who)}, kept in {self.board.path.name}")

    def _top(self) -> None:
        with box("top"):
            self.at = ui.label()
            self.only = ui.label().classes("tag merge")
            self.chosen = ui.label().classes("tag relabel")
            self.said = ui.label().classes("said")
            box("grow")
            self._button("n", "next open")
            self.hide = self._button("f", "only open")
            self._button("c", "class")
            self._button("a", "select all")
            self._button("u", "undo")
            self._button("?", "keys")

    def _button(self, name: str, what: str) -> ui.element:
        with box("act") as button:
            key(name)
            ui.label(what).style("display: inline; margin-left: 5px")
        return button.on("click", partial(self.press, name))

    def _filter(self, kind: str | None) -> None:
        self.review.show(kind, self.review.name, self.review.undecided)
        self.refresh()
