"""What classes are called from now on, and which are parts of one: a small file beside the data.

    rename: {old name: new name}   # several old names of one new name merge
    report: {part: whole}          # trained apart, told as one

or a table with the columns `old`, `new` and `report`, either of the last two left empty.
"""

import csv
import dataclasses
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from carsclf.data.samples import Source, absolute, list_some
from carsclf.errors import ConfigError, nearest
from carsclf.files import table_of

SECTIONS = {"rename": "old name: new name", "report": "part: whole"}
COLUMNS = ("old", "new", "report")


@dataclass(frozen=True)
class ClassMapping:
    """New names of old ones, and wholes of their parts; the parts have their new names."""

    rename: Mapping[str, str] = field(default_factory=dict)
    report: Mapping[str, str] = field(default_factory=dict)

    def name(self, old: str) -> str:
        """What a class is called from now on; a name that is new already stays."""
        return self.rename.get(old, old)

    def applied(self, source: Source) -> Source:
        """The source with the new names, a merged class standing where the first of it stood.

        A name that the photos do not have may be there for the head of an earlier run only, as
        long as they have its new one. Raises ConfigError for other unknown names, for a class
        that another is merged into without its own line, and where one class is all that is left.
        """
        there = source.class_names
        _check_known("rename", self.rename, {*there}, there)
        _check_meant("rename", self.rename, {*there})
        names = list(dict.fromkeys(map(self.name, there)))
        _check_known("report", self.report, {*names}, names)
        _check_meant("report", self.report, {*names})
        for what, told in (("rename", names), ("report", [self.report.get(n, n) for n in names])):
            if len({*told}) < 2:
                raise ConfigError(
                    f"data.mapping: {what} makes one class of all, {told[0]}: leave two or more"
                )
        index = {name: i for i, name in enumerate(names)}
        new = [index[self.name(name)] for name in there]
        samples = [dataclasses.replace(s, target=new[s.target]) for s in source.samples]
        return dataclasses.replace(source, class_names=names, samples=samples)

    def told(self, there: Sequence[str]) -> str:
        """What it does to the photos' classes, in one line."""
        moved = [old for old in there if self.name(old) != old]
        own = Counter(map(self.name, there))
        merged = [name for name, times in own.items() if times > 1]
        parts = [name for name in own if self.report.get(name, name) != name]
        known = {*there, *own}
        absent = [n for n in dict.fromkeys([*self.rename, *self.report]) if n not in known]
        lists = {
            "renamed": moved,
            "merged": merged,
            "told as parts": parts,
            "not among the photos": absent,
        }
        said = [f"{len(n)} {what} ({list_some(n, 3)})" for what, n in lists.items() if n]
        return f"mapping: {', '.join(said) or 'nothing changes'}"


def read_mapping(path: str | Path) -> dict[str, dict[str, str]]:
    """The sections of a mapping file, as plain settings; raises ConfigError in one line."""
    file = absolute(path)
    try:
        text = file.read_text(encoding="utf-8-sig")
        given = _table(text, file) if file.suffix.lower() == ".csv" else _yaml(text, file)
    except (OSError, ValueError, yaml.YAMLError, csv.Error) as error:
        said = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise ConfigError(f"data.mapping={file} cannot be read: {said}") from None
    return mapping_of(given, f"data.mapping={file}")


def mapping_of(given: Any, where: str = "data.mapping") -> dict[str, dict[str, str]]:
    """Settings as a mapping file has them, checked for what is wrong with them whatever the data.

    Each line counts once: a new name that is renamed itself (a chain, a cycle) is refused.
    """
    expected = f"expected {' and '.join(f'{k}: {{{v}}}' for k, v in SECTIONS.items())}"
    if not isinstance(given, Mapping) or not given:
        raise ConfigError(f"{where}: {expected}")
    for key in given:
        if key not in SECTIONS:
            raise ConfigError(f"{where}: no section {key!r}: {expected}")
    told: dict[str, dict[str, str]] = {}
    for section, what in SECTIONS.items():
        lines = given.get(section) or {}
        if not isinstance(lines, Mapping):
            raise ConfigError(f"{where}: {section} is no list of lines {what}")
        if wrong := [k for k, v in lines.items() if not isinstance(v, str | int | float)]:
            raise ConfigError(f"{where}: {section}: {wrong[0]} needs one name, as {what}")
        told[section] = {str(old).strip(): str(new).strip() for old, new in lines.items()}
        _check_lines(told[section], section, where)
    if not any(told.values()):
        raise ConfigError(f"{where} names no class: {expected}")
    return told


def _check_lines(lines: Mapping[str, str], section: str, where: str) -> None:
    if empty := [old for old, new in lines.items() if not old or not new]:
        raise ConfigError(f"{where}: {section}: {empty[0] or 'a line'} has no name")
    for old, new in lines.items():
        if lines.get(new, new) != new:
            end = "back in a cycle" if lines[new] == old else f"on to {lines[new]}"
            raise ConfigError(
                f"{where}: {section} leads from {old} to {new} and {end}: each line counts once, "
                "so name for each class what it is called in the end"
            )


def _check_known(
    section: str, lines: Mapping[str, str], there: set[str], names: Sequence[str]
) -> None:
    known = there | {new for old, new in lines.items() if old in there}
    unknown = [old for old, new in lines.items() if old not in there and new not in known]
    if unknown:
        raise ConfigError(
            f"data.mapping: {section} names {list_some(unknown, 3)}, which the photos do not have: "
            f"{nearest(unknown[0], names)}"
        )


def _check_meant(section: str, lines: Mapping[str, str], there: set[str]) -> None:
    """Refuses to let classes vanish in another that has no line, as a slip would have them."""
    moved = [(old, new) for old, new in lines.items() if old in there and new != old]
    for old, new in moved:
        if new in there and new not in lines:
            raise ConfigError(
                f"data.mapping: {section} makes {new} of {old}, and the photos have a class {new}: "
                f"if they are to be one, add the line {new}: {new}, else choose another name"
            )


def _yaml(text: str, file: Path) -> Any:
    """All as text, since 911 and 1.10 are names of classes; raises where a name stands twice."""
    tree = yaml.compose(text, Loader=yaml.BaseLoader)
    sections = tree.value if isinstance(tree, yaml.MappingNode) else []
    names = [section.value for section, _ in sections]
    if double := [name for name in names if names.count(name) > 1]:
        raise ConfigError(f"data.mapping={file}: the section {double[0]} stands there twice")
    for section, lines in sections:
        keys = [k.value for k, _ in lines.value] if isinstance(lines, yaml.MappingNode) else []
        if double := [key for key in keys if keys.count(key) > 1]:
            raise ConfigError(
                f"data.mapping={file}: {section.value}: {double[0]} stands there twice"
            )
    return yaml.load(text, Loader=yaml.BaseLoader)


def _table(text: str, file: Path) -> dict[str, dict[str, str]]:
    """The sections of a table; `report` is about the new name, or the old one where it stays."""
    rows = table_of(text.splitlines(), f"data.mapping={file}", skipinitialspace=True)
    named = [*(rows.fieldnames or ())]
    if "old" not in named or not {*named} <= {*COLUMNS} or len(named) < 2:
        raise ConfigError(
            f"data.mapping={file}: expected the columns {', '.join(COLUMNS)} (the last may be "
            f"absent), not {', '.join(named) or 'none'}"
        )
    told: dict[str, dict[str, str]] = defaultdict(dict)
    for row in rows:
        if None in row:
            raise ConfigError(
                f"data.mapping={file}: line {rows.line_num} has more cells than there are columns: "
                "put names with a comma in double quotes"
            )
        old, new, whole = ((row.get(column) or "").strip() for column in COLUMNS)
        lines = [("rename", old, new), ("report", new or old, whole)]
        for section, key, value in lines:
            if value and told[section].setdefault(key, value) != value:
                raise ConfigError(
                    f"data.mapping={file}: {key} becomes {told[section][key]} and {value}: once"
                )
    return told
