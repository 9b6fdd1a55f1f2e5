"""What lies over the rows: the choice of a class, a photo enlarged, and the keys."""

from collections.abc import Callable
from functools import partial

from nicegui import ui

from carsclf.curation.page.manner import Manner
from carsclf.curation.page.rows import box, key
from carsclf.curation.page.session import Asked
from carsclf.curation.page.text import keys
from carsclf.data.samples import shown

Take = Callable[[str | None], object]


def draw_keys(manner: Manner) -> None:
    with box("sheet"):
        box("label", "Keys")
        with box("keys"):
            for names, what in keys(manner):
                with ui.element("div"):
                    for name in names:
                        key(name)
                ui.label(what)


def draw_photo(url: str) -> None:
    """url: of numbers alone."""
    ui.element("img").props(f'src="{url}" alt=""')


def draw_question(asked: Asked, matches: list[str], take: Take) -> None:
    """What was typed, and the classes that have it, of which Enter takes the one marked."""
    with box("sheet") as sheet:
        box("soft", asked.title)
        box("typed", asked.typed)
        for place, name in enumerate(matches):
            match = box(f"match{' on' if place == asked.choice else ''}", shown(name))
            match.on("click.stop", partial(take, name))
        if not matches:
            box("soft", "no class is called so")
    sheet.on("click.stop", lambda: None)
