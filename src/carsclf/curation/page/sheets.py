"""What lies over the rows: the choice of a class, a photo enlarged, and the keys."""

from collections.abc import Callable
from functools import partial

from nicegui import ui

from carsclf.curation.page.rows import box, key
from carsclf.curation.page.text import HELP
from carsclf.data.samples import shown


class Veil:
    """At most one thing at a time; `open` tells what, and keys go to it."""

    def __init__(self, matches: Callable[[str], list[str]]) -> None:
        self.open: str | None = None
        self._matches = matches
        self._parent = ui.element("div")

    def close(self) -> None:
        self.open = None
        self._parent.clear()

    def help(self) -> None:
        with self._veil("help"), box("sheet"):
            box("label", "Keys")
            with box("keys"):
                for names, what in HELP:
                    with ui.element("div"):
                        for name in names.split(" ") if names != "1 … 9" else [names]:
                            key(name)
                    ui.label(what)

    def photo(self, url: str) -> None:
        """url: of numbers alone."""
        with self._veil("photo"):
            ui.element("img").props(f'src="{url}" alt=""')

    def ask(self, title: str, take: Callable[[str | None], None]) -> None:
        """For a class, by typing a part of its name: keys come to `type`. `take` gets None where
        Enter comes before anything is typed."""
        self._title, self._take, self._typed, self._choice = title, take, "", 0
        self._classes()

    def type(self, name: str) -> None:
        """A key while a class is asked for."""
        if name == "Escape":
            return self.close()
        found = self._matches(self._typed)
        if name == "Enter":
            if found:
                self.take(found[self._choice] if self._typed or self._choice else None)
            return None
        if name in ("ArrowDown", "ArrowUp"):
            step = 1 if name == "ArrowDown" else -1
            self._choice = max(0, min(self._choice + step, len(found) - 1))
        elif name == "Backspace":
            self._typed, self._choice = self._typed[:-1], 0
        elif len(name) == 1:
            self._typed, self._choice = self._typed + name, 0
        return self._classes()

    def take(self, name: str | None) -> None:
        self.close()
        self._take(name)

    def _classes(self) -> None:
        with self._veil("classes"), box("sheet") as sheet:
            box("soft", self._title)
            box("typed", self._typed)
            found = self._matches(self._typed)
            for place, name in enumerate(found):
                match = box(f"match{' on' if place == self._choice else ''}", shown(name))
                match.on("click.stop", partial(self.take, name))
            if not found:
                box("soft", "no class is called so")
        sheet.on("click.stop", lambda: None)

    def _veil(self, what: str) -> ui.element:
        self.open = what
        self._parent.clear()
        with self._parent:
            veil = box(f"veil {what}")
        veil.on("click", self.close)
        return veil
