"""The page itself: what sections leave on the desk, written as HTML, figures and tables."""

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from carsclf.files import atomic_write, write_json

TYPES = {".svg": "image/svg+xml", ".png": "image/png", ".jpg": "image/jpeg"}
MADE = ".made.json"
Show = Mapping[str, tuple[str, Callable[[Any], str]]]
"""Of a table: heading -> (column, how its values are written)."""


@dataclass(frozen=True)
class Part:
    """One thing on the page; `kind` chooses how the template shows `content`."""

    kind: str
    content: Any
    caption: str = ""


@dataclass(frozen=True)
class Figure:
    """A number at a glance, what it is, and the section that tells more."""

    value: str
    what: str
    section: str


@dataclass
class Section:
    """One question; `answer` is one plain sentence made from the numbers."""

    id: str
    title: str
    answer: str = ""
    parts: list[Part] = field(default_factory=list)

    def note(self, text: str) -> None:
        self.parts.append(Part("note", text))

    def heading(self, text: str) -> None:
        self.parts.append(Part("heading", text))

    def commands(self, lines: Sequence[str], caption: str = "") -> None:
        self.parts.append(Part("commands", list(lines), caption))

    def definitions(self, pairs: Sequence[tuple[str, str]], caption: str = "") -> None:
        self.parts.append(Part("definitions", list(pairs), caption))

    def gallery(self, items: Sequence[Mapping[str, Any]], caption: str) -> None:
        self.parts.append(Part("gallery", list(items), caption))


@dataclass(frozen=True)
class Page:
    """All that a reader is told, wherever it is shown."""

    title: str
    facts: str
    """Data, classes, split and protocol, in a line."""
    warnings: Sequence[str]
    figures: Sequence[Figure]
    sections: Sequence[Section]


@dataclass
class Desk:
    """Where figures and tables are laid down: beside the page, and into it."""

    folder: Path
    png: bool = False
    """Whether figures are drawn as PNG as well, for what shows no SVG."""

    made: list[str] = field(default_factory=list)
    """What lies beside the page, by its place in the folder."""

    def __post_init__(self) -> None:
        try:  # of an earlier page; what somebody else laid there stays
            made = json.loads((self.folder / MADE).read_text())
        except (OSError, ValueError):
            return
        for name in made:
            if re.fullmatch(r"(figures|tables|gallery)/[^/]+", name):
                (self.folder / name).unlink(missing_ok=True)

    def _place(self, name: str) -> Path:
        self.made.append(name)
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def figure(
        self,
        section: Section,
        name: str,
        caption: str,
        draw: Callable[[Path], None],
        suffix: str = ".svg",
    ) -> None:
        """Draws into figures/<name>.svg, or what photos need instead, and shows it."""
        path = self._place(f"figures/{name}{suffix}")
        draw(path)
        if self.png and suffix != ".png":
            draw(self._place(f"figures/{name}.png"))
        content = {"uri": data_uri(path), "file": f"figures/{path.name}"}
        section.parts.append(Part("figure", content, caption))

    def table(
        self,
        section: Section,
        name: str,
        table: pd.DataFrame,
        caption: str,
        show: Show,
        most: int | None = None,
    ) -> None:
        """Writes tables/<name>.csv with full numbers and shows some columns as people read them.

        most: rows that are shown; None: all.
        """
        path = self._place(f"tables/{name}.csv")
        with atomic_write(path) as temporary:
            table.to_csv(temporary, index=False)
        rows = [
            [write(row[column]) for column, write in show.values()]
            for row in table.iloc[:most].to_dict("records")
        ]
        numeric = [
            i > 0 and bool(rows) and all(_is_number(row[i]) for row in rows)
            for i in range(len(show))
        ]
        content = {
            "head": list(show),
            "rows": rows,
            "numeric": numeric,
            "file": f"tables/{path.name}",
        }
        section.parts.append(Part("table", content, caption))

    def photo(self, name: str, content: bytes) -> str:
        """Writes gallery/<name>.jpg; returns it as a data URI."""
        path = self._place(f"gallery/{name}.jpg")
        path.write_bytes(content)
        return data_uri(path)

    def write(self, page: Page) -> Path:
        """Writes index.html, which needs nothing beside it."""
        environment = Environment(
            loader=PackageLoader("carsclf.report", "templates"),
            autoescape=select_autoescape(["j2", "html"]),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        text = environment.get_template("page.html.j2").render(vars(page))
        path = self.folder / "index.html"
        with atomic_write(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
        write_json(self.folder / MADE, self.made)
        return path


def data_uri(path: Path) -> str:
    """The file as text that stands in the page."""
    return f"data:{TYPES[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _is_number(text: str) -> bool:
    return text == "–" or text.lstrip("+-−<> ")[:1].isdigit()
