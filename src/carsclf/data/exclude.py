"""Photos that a training leaves out: a list of sample ids in a file, `data.exclude`."""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from carsclf.data.samples import Source, absolute, list_some, shown
from carsclf.data.splits import Splits, untrained
from carsclf.errors import DataError
from carsclf.files import separator_of

KINDS = (".txt", ".csv", ".parquet")
EXPECTED = (
    "a .txt file with an id a line, or a .csv or .parquet file with a column id, such as a part of "
    "curate.py's findings"
)


@dataclass(frozen=True)
class Exclusion:
    """What a list said: `ids` that are photos of the data, `unknown` ones that are not.

    hash: of the file, so that a list that changed is noticed.
    """

    file: str
    hash: str
    ids: frozenset[str] = frozenset()
    unknown: Sequence[str] = ()
    parts: Mapping[str, int] = field(default_factory=dict)  # split -> photos left out of it

    def record(self) -> dict[str, Any]:
        """What run.json keeps."""
        told = asdict(self)
        return told | {"ids": len(self.ids), "unknown": len(self.unknown)}

    def told(self) -> str:
        """A clause about a list that names nothing, or photos that are not there."""
        if not self.ids and not self.unknown:
            return f"; data.exclude={shown(self.file)} is an empty list"
        names = list_some(self.unknown, 3)
        said = f"; {len(self.unknown)} ids of data.exclude are no photos here ({names})"
        return said if self.unknown else ""


def read_exclusion(file: str | Path, known: Collection[str]) -> Exclusion:
    """Reads a list; `known` are the ids of all photos of the data, also of classes not asked for.

    Order and repetitions mean nothing, and an empty list leaves nothing out. Raises DataError for
    what is no list, and for one of which no id is known: it is another data set's.
    """
    path = absolute(file)
    ids, content = _ids(path)
    unknown = [id for id in dict.fromkeys(ids) if id not in known]
    if ids and len(unknown) == len(set(ids)):
        raise DataError(
            f"data.exclude={path}: none of its {len(unknown)} ids ({list_some(unknown, 3)}) is a "
            f"photo of these data, whose ids are like {list_some(sorted(known), 2)}: is it a list "
            "of another data set?"
        )
    digest = hashlib.sha256(content).hexdigest()
    return Exclusion(str(path), digest, frozenset(ids) - set(unknown), unknown)


def changed(exclusion: Exclusion, note: Path) -> bool:
    """Whether a list is another than the one that a run's note tells of."""
    return note.is_file() and json.loads(note.read_text())["hash"] != exclusion.hash


def keep_classes(
    source: Source, out: Collection[str], classes: Sequence[str] | None, min_images: int, by: str
) -> Source:
    """The source with those classes that have enough photos without the ones left out.

    Those are still in it: who is in which split must not hang on them. by: the options that left
    them out.
    """
    if all(sample.id in out for sample in source.samples):
        raise DataError(f"{by} names all photos there are: shorten the list")
    left = source.without_ids(out)
    if classes or min_images:
        kept = left.select(classes, min_images).class_names
        source = source.select(kept)
    names, there = source.class_names, {s.target for s in source.samples if s.id not in out}
    if empty := [name for target, name in enumerate(names) if target not in there]:
        raise DataError(
            f"{by} leaves no photo of {len(empty)} classes: {list_some(empty, 5)}; shorten "
            "the list, or leave them out with data.min_images_per_class=1"
        )
    return source


def leave_out(splits: Splits, exclusion: Exclusion, class_names: Sequence[str]) -> Splits:
    """The splits without the photos of the list; all others stay where they were.

    Raises DataError where a class is left without a training photo, or validation without any.
    """
    kept = {name: [s for s in part if s.id not in exclusion.ids] for name, part in splits.items()}
    check_left(kept, class_names, "data.exclude")
    return {name: part for name, part in kept.items() if part}


def check_left(splits: Splits, class_names: Sequence[str], by: str) -> None:
    """Refuses lists that leave a class without a training photo, or validation without any."""
    if lacking := untrained(splits["train"], class_names):
        raise DataError(
            f"{by} leaves {len(lacking)} classes without a training photo: "
            f"{list_some(lacking, 5)}; shorten the list, or leave the classes out with "
            "data.min_images_per_class"
        )
    if not splits.get("val"):
        raise DataError(f"{by} leaves no photo for validation: shorten the list")


def named_in(splits: Splits, exclusion: Exclusion) -> dict[str, int]:
    """How many photos of each split the list names."""
    return {name: sum(s.id in exclusion.ids for s in part) for name, part in splits.items()}


def _ids(path: Path) -> tuple[list[str], bytes]:
    """The ids in a file, and the file's content."""
    import pandas as pd

    kind = path.suffix.lower()
    if kind not in KINDS:
        raise DataError(f"data.exclude={path}: expected {EXPECTED}")
    try:
        content = path.read_bytes()
        if kind == ".txt":
            lines = content.decode("utf-8-sig").split("\n")
            return [line.rstrip("\r") for line in lines if line.strip()], content
        if kind == ".csv":
            separator = separator_of(content.partition(b"\n")[0].decode("utf-8-sig"))
            table = pd.read_csv(
                path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig"
            )
        else:
            table = pd.read_parquet(path)
    except (OSError, ValueError) as error:  # of pandas and pyarrow too
        said = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise DataError(
            f"data.exclude={path} cannot be read ({said}): expected {EXPECTED}"
        ) from None
    if "id" not in table.columns:
        raise DataError(
            f"data.exclude={path} has no column id, but "
            f"{list_some([str(name) for name in table.columns])}: expected {EXPECTED}"
        )
    # a finding may be about a class, and then names no photo
    return [str(id) for id in table["id"].dropna() if str(id)], content
