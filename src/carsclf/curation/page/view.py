"""The page as one browser tab shows it; what it shows is in a Session."""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial

from nicegui import background_tasks, ui
from nicegui.events import KeyEventArguments

from carsclf.curation.findings import KINDS
from carsclf.curation.page.review import Review
from carsclf.curation.page.rows import Row, box, key
from carsclf.curation.page.session import Asked, Session
from carsclf.curation.page.sheets import draw_keys, draw_photo, draw_question
from carsclf.curation.page.style import CSS, KEYS
from carsclf.curation.page.thumbnails import SIDES, Thumbnails
from carsclf.data.samples import shown
from carsclf.errors import CarsclfError

LOOK = 2.0  # seconds after which others' decisions are seen
BUTTONS = {"n": "next open", "f": "only open", "c": "class", "a": "select all", "u": "undo",
           "?": "keys"}  # fmt: skip


class View:
    """What is typed and clicked is taken in at once and done in order, also when the tab is closed
    meanwhile; then all is drawn that has changed."""

    def __init__(self, review: Review, thumbs: Thumbnails) -> None:
        self.session, self.review, self.board = Session(review), review, review.board
        self.thumbs, self.client = thumbs, ui.context.client
        self.rows: list[Row] = []
        self.bars: dict[str | None, tuple[ui.element, ui.label, ui.element]] = {}
        self._waiting: deque[Callable[[], object]] = deque()
        self._busy = False
        self._drawn: dict[str, object] = {}
        self._build()
        self.draw()

    def on_key(self, event: KeyEventArguments) -> None:
        held = event.modifiers
        if event.action.keydown and not (held.ctrl or held.meta or held.alt):
            self.do(partial(self.session.press, event.key.name, shift=held.shift,
                            repeat=event.action.repeat))  # fmt: skip

    def do(self, what: Callable[[], object]) -> None:
        """Takes in what is to be done, after what came before.

        In a thread: while a decision goes to the disk, the next keys are read, which would be lost
        with the tab if they still waited in its connection.
        """
        self._waiting.append(what)
        if not self._busy:
            self._busy = True
            background_tasks.create(self._work())

    async def _work(self) -> None:
        try:
            while self._waiting:
                await asyncio.to_thread(self._waiting.popleft())
        finally:
            self._busy = False
            self.draw()

    def _look(self) -> None:
        """Others may have decided meanwhile."""
        try:
            self.board.refresh()
        except CarsclfError as error:
            self.session.tell(str(error), bad=True)
        self.draw()

    def draw(self) -> None:
        """Draws what is another than it was; nothing where the tab was closed."""
        if self.client.is_deleted:
            return
        with self.client:
            self._draw_rows()
            self._draw_counts()
            self._draw_open()

    def _changed(self, what: str, value: object) -> bool:
        before, self._drawn[what] = self._drawn.get(what), value
        return before != value

    def _draw_rows(self) -> None:
        review = self.review
        if self._changed("rows", review.rows):
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
        if self._changed("at", (review.rows, review.current)) and self.rows:
            ui.run_javascript(
                f"document.querySelector('[data-place=\"{review.current}\"]')"
                "?.scrollIntoView({block: 'nearest'})"
            )

    def _draw_counts(self) -> None:
        review, session = self.review, self.session
        if self._changed("progress", (self.board.version, review.kind)):
            self._draw_progress()
        at = f"{review.cursor + 1:,} of {len(review.order):,}" if review.order else "0"
        self.at.set_text(f"{at} · page {review.page + 1:,} of {review.pages:,}")
        self.only.set_text(f"only {shown(review.name)}" if review.name else "")
        chosen = len(review.selected)
        self.chosen.set_text(f"{chosen:,} selected" if chosen else "")
        self.said.set_text(session.said)
        self.said.classes(replace="said bad" if session.bad else "said")
        self.buttons["f"].classes(replace=f"act{' on' if review.undecided else ''}")

    def _draw_progress(self) -> None:
        progress: dict[str | None, tuple[int, int]] = {**self.board.progress()}
        done, total = (sum(counts[i] for counts in progress.values()) for i in (0, 1))
        progress[None] = (done, total)
        for kind, (line, label, bar) in self.bars.items():
            some, all = progress[kind]
            line.classes(replace=f"kind{' on' if kind == self.review.kind else ''}")
            label.set_text(f"{some:,} of {all:,}")
            bar.style(f"width: {100 * some / max(all, 1):.2f}%")

    def _draw_open(self) -> None:
        opened = self.session.open
        asked = isinstance(opened, Asked)
        if not self._changed("open", (opened.typed, opened.choice) if asked else opened):
            return
        self.over.clear()
        if opened is None:
            return
        photo = self._url(opened) if isinstance(opened, str) and opened != "keys" else None
        with self.over, box(f"veil{' photo' if photo else ''}") as veil:
            if isinstance(opened, Asked):
                draw_question(opened, self.session.matches(), self._taken)
            elif photo:
                draw_photo(photo)
            else:
                draw_keys(self.board.manner)
        veil.on("click", partial(self.do, partial(self.session.press, "Escape")))

    def _url(self, id: str) -> str | None:
        return self.thumbs.url(id, SIDES[2], self.board.ledger.turn(id))

    def _clicked(self, what: str, place: int) -> None:
        self.do(partial(self.session.click, what, place))

    def _taken(self, name: str | None) -> None:
        self.do(partial(self.session.take, name))

    def _build(self) -> None:
        ui.add_css(CSS)
        ui.add_head_html(KEYS)
        ui.keyboard(self.on_key, ignore=["input", "textarea"])
        with box("side"):
            with ui.element("h1"):
                ui.label(self.board.manner.title)
            for kind in (None, *self.board.progress()):
                self._kind(kind)
            box("grow")
            box(
                "soft whole", f"decided as {shown(self.review.who)}, kept in {self.board.path.name}"
            )
        with box("main"):
            with box("top"):
                self.at = ui.label()
                self.only = ui.label().classes("tag merge")
                self.chosen = ui.label().classes("tag relabel")
                self.said = ui.label().classes("said")
                box("grow")
                self.buttons = {name: self._button(name, what) for name, what in BUTTONS.items()}
            self.list = box("rows")
        self.over = ui.element("div")
        ui.timer(LOOK, self._look)

    def _kind(self, kind: str | None) -> None:
        with box("kind") as line:
            with box("name"):
                ui.label("all findings" if kind is None else kind.replace("_", " "))
            label = ui.label().classes("soft")
            with box("bar"):
                bar = ui.element("div")
        line.on("click", partial(self.do, partial(self._filter, kind)))
        line.props["title"] = KINDS.get(kind or "", "")
        self.bars[kind] = (line, label, bar)

    def _button(self, name: str, what: str) -> ui.element:
        with box("act") as button:
            key(name)
            ui.label(what).style("display: inline; margin-left: 5px")
        return button.on("click", partial(self.do, partial(self.session.press, name)))

    def _filter(self, kind: str | None) -> None:
        self.review.show(kind, self.review.name, self.review.undecided)
