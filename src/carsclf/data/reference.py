"""Reference sets: named, frozen lists of photos that decide what is deployed, `<name>.parquet`."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from carsclf.data.fingerprints import COLUMNS, content_of, fingerprints
from carsclf.data.samples import Sample, absolute, list_some, shown
from carsclf.errors import CheckpointError, ConfigError, DataError, nearest
from carsclf.files import AnyPath, atomic_write
from carsclf.machine.devices import available_cores

FOLDER = "references"
NOTE = "references.json"  # of a run folder: what it was kept from
NAME = re.compile(r"[\w.-]*\w", re.ASCII)
MAKE = "python reference.py name=<name> photos=<folder of class folders>"


@dataclass(frozen=True)
class ReferenceSet:
    """Photos with their classes and fingerprints.

    table: a row per photo: id, class, box (four numbers or None), content (SHA-256), how it looks
    (see carsclf.data.fingerprints), and where some are turned in reading, by how many degrees
    (turn). hash: of ids, classes, boxes, contents and turns.
    """

    name: str
    root: Path  # of the photos
    file: Path
    table: pd.DataFrame = field(repr=False)

    @property
    def class_names(self) -> list[str]:
        return sorted(set(self.table["class"]))

    @property
    def hash(self) -> str:
        columns: Any = self.table[["id", "class", "box", "content"]]
        rows = columns.to_dict("records")
        known = [[r["id"], r["class"], _box(r["box"]), r["content"]] for r in rows]
        # photos as they lie are known as in sets of earlier versions
        told = json.dumps([[*row, turn] if turn else row
                           for row, turn in zip(known, self.turns, strict=True)])  # fmt: skip
        return hashlib.sha256(told.encode()).hexdigest()

    @property
    def turns(self) -> list[int]:
        """Degrees clockwise by which each photo is turned in reading."""
        turned = self.table["turn"].tolist() if "turn" in self.table else [0] * len(self.table)
        return list(map(int, turned))

    def samples(self, root: AnyPath | None = None) -> list[Sample]:
        """Its photos, with places in `class_names` as targets; root: where they lie now."""
        base = self.root if root is None else absolute(str(root))
        index = {name: i for i, name in enumerate(self.class_names)}
        return [
            Sample(
                row["id"], base / row["id"], index[row["class"]], box=_box(row["box"]), turn=turn
            )
            for row, turn in zip(self.table.to_dict("records"), self.turns, strict=True)
        ]

    def checked(self, root: AnyPath | None = None) -> list[Sample]:
        """Its photos, each with the content that was frozen; raises DataError naming others."""
        samples = self.samples(root)
        with ThreadPoolExecutor(available_cores()) as pool:
            found = list(pool.map(content_of, samples))
        frozen = self.table["content"].tolist()
        missing = [s.id for s, now in zip(samples, found, strict=True) if now is None]
        changed = [
            s.id for s, now, then in zip(samples, found, frozen, strict=True) if now and now != then
        ]
        told = [
            f"{len(ids)} photos {what} ({list_some(ids, 5)})"
            for what, ids in (("are missing", missing), ("are not what they were", changed))
            if ids
        ]
        if told:
            base = self.root if root is None else root
            raise DataError(
                f"reference set {self.name}: {' and '.join(told)} below {base}: put them back, say "
                f"where they lie now with root=<folder> (gate.py: roots={{{self.name}: "
                "<folder>}), or make a set of another name"
            )
        return samples

    def write(self) -> None:
        """Once: a set does not change under its name."""
        if self.file.exists():
            raise ConfigError(
                f"{self.file} is there already, and a reference set does not change: take another "
                "name"
            )
        table = self.table.copy()
        table.attrs = {"name": self.name, "root": str(self.root), "hash": self.hash}
        with atomic_write(self.file) as temporary:
            table.to_parquet(temporary)


def make_set(
    name: str, folder: AnyPath, root: Path, samples: Sequence[Sample], class_names: Sequence[str],
    kept: Path,
) -> ReferenceSet:  # fmt: skip
    """A set of samples with their fingerprints, not written yet; kept: of fingerprints."""
    if not NAME.fullmatch(name):
        raise ConfigError(f"name={shown(name)}: expected letters, digits, dots, dashes and _")
    if elsewhere := [s.id for s in samples if s.path != root / s.id]:
        raise DataError(
            f"{len(elsewhere)} photos do not lie below {root} ({list_some(elsewhere, 3)}): a "
            "reference set knows its photos by their place below one folder"
        )
    samples = sorted(samples, key=lambda s: s.id)
    table: Any = fingerprints(samples, kept)[["id", *COLUMNS]]
    unreadable = table.loc[table["hash"].isna(), "id"].tolist()
    if unreadable:
        raise DataError(
            f"{len(unreadable)} photos cannot be read: {list_some(unreadable)}; replace or remove "
            "them"
        )
    table["class"] = [class_names[s.target] for s in samples]
    named = table.groupby("content")["class"].nunique()
    if double := table.loc[table["content"].isin(named[named > 1].index), "id"].tolist():
        raise DataError(
            f"{len(double)} files are one photo under several classes: {list_some(double, 4)}; "
            "keep the one that is right"
        )
    table["box"] = [None if s.box is None else list(s.box) for s in samples]
    if any(s.turn for s in samples):
        table["turn"] = [s.turn for s in samples]
    return ReferenceSet(name, root, absolute(str(folder)) / f"{name}.parquet", table)


def read_reference(named: AnyPath) -> ReferenceSet:
    """The set of a name below references/, or of a file; raises in one line."""
    file = find_reference(str(named))
    try:
        table = pd.read_parquet(file)
        told: dict[Any, Any] = table.attrs
        found = ReferenceSet(told["name"], Path(told["root"]), file, table)
        intact = found.hash == told["hash"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        said = " ".join(str(error).split())
        raise DataError(f"{file} cannot be read as a reference set ({said}): {MAKE}") from None
    if not intact or not len(table):
        raise DataError(
            f"{file} was changed since it was made, so it is not the reference set {found.name} "
            f"any more: put the old file back, or make a set of another name: {MAKE}"
        )
    return found


def find_reference(named: str) -> Path:
    """The file of a set: `named` is a path, or a name below references/."""
    path = absolute(named)
    if path.suffix == ".parquet" and path.is_file():
        return path
    file = absolute(f"{FOLDER}/{named}.parquet")
    if not file.is_file():
        known = [f.stem for f in all_references()]
        hint = nearest(named, known) if known else f"there is none yet: {MAKE}"
        raise ConfigError(
            f"the reference set {shown(named)} is no file, nor below {FOLDER}/: {hint}"
        )
    return file


def all_references() -> list[Path]:
    """The files of all sets below references/, here."""
    return sorted(absolute(FOLDER).glob("*.parquet"))


def references_named(named: str | Sequence[str] | None) -> list[Path]:
    """Files of sets by name; `auto`: all that there are."""
    if named == "auto":
        return all_references()
    listed = [named] if isinstance(named, str) else named or []
    return list(dict.fromkeys(find_reference(str(each)) for each in listed))


def check_same(record: Mapping[str, Any], note: Path, folder: Path) -> None:
    """Raises CheckpointError where the sets are not those that a run's note tells of."""
    if not note.is_file():
        return
    kept = json.loads(note.read_text())["sets"]
    if other := [name for name, told in record.items() if kept.get(name, told) != told]:
        raise CheckpointError(
            f"the reference set {other[0]} is not what it was when {folder} was trained, so other "
            "photos would be held back: put the old file back"
        )


def _box(value: Any) -> Any:
    return None if value is None else tuple(map(int, value))
