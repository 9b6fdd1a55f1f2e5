"""`data.decisions`: photos left out, of another class or turned, as somebody decided."""

import dataclasses
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from carsclf.data.decision_log import Entry, Ledger, read_ledger
from carsclf.data.exclude import check_left
from carsclf.data.fingerprints import content_hash
from carsclf.data.images import file_identity
from carsclf.data.mapping import ClassMapping
from carsclf.data.samples import Sample, Source, absolute, list_some, shown
from carsclf.data.splits import Splits
from carsclf.errors import DataError, nearest
from carsclf.machine.devices import available_cores

OPTION = "data.decisions"


@dataclass(frozen=True)
class Decided:
    """What a file of decisions means for these photos.

    Passed over are `unknown` ids, photos whose content is another than was decided on (`changed`),
    and merges whose other photo is not there (`alone`).
    """

    file: str
    content: bytes
    out: Mapping[str, str] = field(default_factory=dict)  # id -> exclude or merge
    classes: Mapping[str, str] = field(default_factory=dict)  # id -> name
    turns: Mapping[str, int] = field(default_factory=dict)  # id -> degrees clockwise
    kept: int = 0
    unknown: Sequence[str] = ()
    changed: Sequence[str] = ()
    alone: Sequence[str] = ()
    conflicts: int = 0
    torn: int = 0
    parts: Mapping[str, int] = field(default_factory=dict)  # split -> photos it lost
    dropped: frozenset[str] = frozenset()  # those photos

    @property
    def hash(self) -> str:
        return content_hash(self.content)

    def record(self) -> dict[str, Any]:
        """What run.json keeps."""
        how = Counter(self.out.values())
        return {
            "file": self.file, "hash": self.hash, "keep": self.kept,
            "relabel": len(self.classes), "exclude": how["exclude"], "merge": how["merge"],
            "turn": len(self.turns), "unknown": len(self.unknown), "changed": len(self.changed),
            "alone": len(self.alone), "conflicts": self.conflicts, "torn": self.torn,
            "parts": dict(self.parts),
        }  # fmt: skip

    def told(self) -> str:
        """One line."""
        counts = {k: self.record()[k] for k in ("keep", "relabel", "exclude", "merge", "turn")}
        said = [", ".join(f"{n} {what}" for what, n in counts.items() if n) or "none that counts"]
        passed = {
            "are no photos here": self.unknown,
            "are another photo now than was decided on": self.changed,
            "would be merged into a photo that is not here": self.alone,
        }
        said += [
            f"passed over: {len(ids)} {why} ({list_some(ids, 3)})"
            for why, ids in passed.items()
            if ids
        ]
        if self.conflicts:
            said.append(f"on {self.conflicts} photos people differ: the last decision counts")
        if self.torn:
            said.append(f"{self.torn} unfinished lines passed over")
        return f"{OPTION}={shown(self.file)}: {'; '.join(said)}"

    def turned(self, source: Source) -> Source:
        """The source with photos to be turned, wherever they are read."""
        return dataclasses.replace(
            source,
            samples=[
                dataclasses.replace(s, turn=self.turns[s.id]) if s.id in self.turns else s
                for s in source.samples
            ],
        )

    def relabelled(self, source: Source, mapping: ClassMapping) -> Source:
        """The source with the decided classes; raises DataError for one that it lacks."""
        index = {name: i for i, name in enumerate(source.class_names)}
        new = {id: mapping.name(name) for id, name in self.classes.items() if name not in index}
        new = {**self.classes, **new}
        if lacking := [(id, name) for id, name in new.items() if name not in index]:
            id, name = lacking[0]
            raise DataError(
                f"{OPTION}={self.file}: {shown(id)} is to be of class {shown(name)!r}, which the "
                f"photos do not have: {nearest(name, source.class_names)}"
            )
        samples = [
            dataclasses.replace(s, target=index[new[s.id]]) if s.id in new else s
            for s in source.samples
        ]
        return dataclasses.replace(source, samples=samples)

    def to_divide(self, before: Source, after: Source) -> Source:
        """Photos by their first classes, by which the splits stay as they were.

        before: all photos, as they were labelled; after: those of the classes that are trained.
        """
        there = {s.id for s in after.samples}
        first = {s.target for s in before.samples if s.id in there}
        return before.select([before.class_names[target] for target in sorted(first)])

    def applied(self, splits: Splits, after: Source) -> tuple["Decided", Splits]:
        """The splits with what was decided, all other photos where they were, and what they lost.

        after: as in `to_divide`. Raises DataError where a class is left without a training photo,
        or validation without any.
        """
        targets = {s.id: s.target for s in after.samples if s.id not in self.out}
        new = {
            name: [dataclasses.replace(s, target=targets[s.id]) for s in part if s.id in targets]
            for name, part in splits.items()
        }
        check_left(new, after.class_names, OPTION)
        touched = {*self.out, *self.classes} - targets.keys()  # others are of classes left out
        parts = {name: sum(s.id in touched for s in part) for name, part in splits.items()}
        dropped = {s.id for part in splits.values() for s in part if s.id in touched}
        told = dataclasses.replace(self, parts=parts, dropped=frozenset(dropped))
        return told, {name: part for name, part in new.items() if part}

    def as_labelled(self, splits: Splits) -> Splits:
        """Without the photos whose class was decided: what was made of them has the old one."""
        return {n: [s for s in part if s.id not in self.classes] for n, part in splits.items()}


def read_decisions(file: str | Path, samples: Sequence[Sample]) -> Decided:
    """Reads a file for these photos, all there are. Raises DataError for another data set's."""
    path = absolute(file)
    try:
        content = path.read_bytes()
        ledger = read_ledger(content, path)
    except OSError as error:
        raise DataError(f"{OPTION}={path} cannot be read ({error.strerror})") from None
    except DataError as error:
        raise DataError(f"{OPTION}={error}") from None
    known = {sample.id: sample for sample in samples}
    there = [id for id in ledger.ids() if id in known]
    unknown = [id for id in ledger.ids() if id not in known]
    if unknown and not there:
        raise DataError(
            f"{OPTION}={path}: none of its {len(unknown)} ids ({list_some(unknown, 3)}) is a photo "
            f"of these data, whose ids are like {list_some(sorted(known), 2)}: are they decisions "
            "on another data set?"
        )
    changed = _changed(ledger, [known[id] for id in there])
    if len(changed) > 1 and len(changed) == len(there):
        raise DataError(
            f"{OPTION}={path}: none of its {len(changed)} photos ({list_some(changed, 3)}) has the "
            "content that was decided on: are they decisions on another data set?"
        )
    valid = [id for id in there if id not in {*changed}]
    return _meant(ledger, valid, known.keys(), str(path), content, unknown, changed)


def _meant(
    ledger: Ledger, valid: Sequence[str], known: Collection[str], file: str, content: bytes,
    unknown: Sequence[str], changed: Sequence[str],
) -> Decided:  # fmt: skip
    fates = {id: fate for id in valid if (fate := ledger.fate(id))}
    merged = {id: fate.value for id, fate in fates.items() if fate.decision == "merge"}
    alone = [id for id, other in merged.items() if other not in known]
    out = {
        id: fate.decision
        for id, fate in fates.items()
        if fate.decision in ("exclude", "merge") and id not in {*alone}
    }
    return Decided(
        file, content, out,
        classes={id: f.value for id, f in fates.items() if f.decision == "relabel"},
        turns={id: turn for id in valid if (turn := ledger.turn(id))},
        kept=sum(fate.decision == "keep" for fate in fates.values()),
        unknown=unknown, changed=changed, alone=alone,
        conflicts=sum(bool(ledger.conflict(id)) for id in valid), torn=ledger.torn,
    )  # fmt: skip


def _changed(ledger: Ledger, samples: Sequence[Sample]) -> list[str]:
    """Ids of photos of which what counts was decided on another content."""

    def differs(sample: Sample) -> bool:
        fate = ledger.fate(sample.id)
        said = [e for _, e in ledger.of(sample.id) if e.decision == "turn"][-1:]
        seen = {e.content.lower() for e in _entries(fate, said)} - {""}
        return bool(seen) and seen != {_content(sample.path, tuple(file_identity(sample.path)))}

    with ThreadPoolExecutor(available_cores()) as pool:
        return [s.id for s, other in zip(samples, pool.map(differs, samples), strict=True) if other]


def _entries(fate: Entry | None, turns: Sequence[Entry]) -> list[Entry]:
    return [*([fate] if fate else []), *turns]


@cache
def _content(path: Path, identity: tuple[int, ...]) -> str:
    """Read again only when the file is another one: trials of a search share a process."""
    try:
        return content_hash(path.read_bytes())
    except OSError:
        return ""
