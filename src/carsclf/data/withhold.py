"""Photos of reference sets, and their twins, never enter training or validation."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from carsclf.analysis.duplicates import likeness
from carsclf.data.fingerprints import fingerprints, hashes_of, thumbs_of
from carsclf.data.reference import ReferenceSet, read_reference, references_named
from carsclf.data.samples import Sample, list_some
from carsclf.data.splits import Splits, untrained
from carsclf.errors import DataError
from carsclf.files import cache_root

BITS = 12  # of the perceptual hash's 64 that may differ, where the pixels are compared
LIKENESS = 0.9  # of pixels, from which on two photos are one; both as curate.py's
HELD = ("train", "val")
ROWS = 4096  # of photos compared with a set at once


@dataclass(frozen=True)
class Withheld:
    """What was held back. same, twins: sample id -> name of a set that has it, or a twin of it."""

    sets: dict[str, str] = field(default_factory=dict)  # name -> hash
    same: dict[str, str] = field(default_factory=dict)
    twins: dict[str, str] = field(default_factory=dict)

    @property
    def ids(self) -> set[str]:
        return {*self.same, *self.twins}

    def record(self) -> dict[str, Any]:
        """What run.json keeps; `photos` are ids."""
        return {"sets": self.sets, "same": len(self.same), "twins": len(self.twins),
                "photos": sorted(self.ids)}  # fmt: skip

    def told(self) -> str:
        """A clause: how many of which kind, and of which sets."""
        names = sorted({*self.same.values(), *self.twins.values()})
        return (
            f"{len(self.same)} photos with the content of one of {list_some(names)}, and "
            f"{len(self.twins)} near duplicates"
        )


def withheld(samples: Sequence[Sample], sets: Sequence[ReferenceSet]) -> Withheld:
    """Which samples are photos of the sets, by content, or their twins, by their looks.

    Twins: perceptual hashes, of a photo or its mirror image, that differ in at most BITS of 64,
    and grey pixels that agree by LIKENESS at the best placement of one in the other. Each photo is
    read and decoded once; what was measured is kept in the cache folder.
    """
    if not sets or not samples:
        return Withheld({one.name: one.hash for one in sets})
    unique = list({s.id: s for s in samples}.values())
    found = fingerprints(unique, kept_for(unique))
    same: dict[str, str] = {}
    twins: dict[str, str] = {}
    for one in sets:
        contents = set(one.table["content"])
        for id, content in zip(found["id"], found["content"], strict=True):
            if content in contents:
                same.setdefault(id, one.name)
        twins |= {id: one.name for id in _twins(found, one.table) if id not in twins}
    twins = {id: name for id, name in twins.items() if id not in same}
    return Withheld({one.name: one.hash for one in sets}, same, twins)


def hold_back(
    splits: Splits, named: str | Sequence[str] | None, class_names: Sequence[str]
) -> tuple[Splits, Withheld | None]:
    """Training and validation without photos of the sets; a test part is judged on, and stays.

    Raises DataError where a class is left without a training photo, or validation without any.
    """
    if not (files := references_named(named)):
        return splits, None
    sets = [read_reference(file) for file in files]
    out = withheld([s for name in HELD for s in splits[name]], sets)
    ids = out.ids
    held = {name: [s for s in splits[name] if s.id not in ids] for name in HELD}
    if lacking := untrained(held["train"], class_names):
        raise DataError(
            f"the reference sets hold all training photos of {len(lacking)} classes: "
            f"{list_some(lacking, 5)}; add photos, or choose the sets with data.references=[...]"
        )
    if not held["val"]:
        raise DataError(
            "the reference sets hold all validation photos: raise data.val_fraction, or choose the "
            "sets with data.references=[...]"
        )
    return {**splits, **held}, out


def kept_for(samples: Sequence[Sample]) -> Path:
    """Where the fingerprints of photos of one place are kept."""
    root = str(samples[0].path).removesuffix(samples[0].id)
    return cache_root() / "fingerprints" / f"{hashlib.sha256(root.encode()).hexdigest()}.parquet"


def _twins(photos: pd.DataFrame, frozen: pd.DataFrame) -> list[str]:
    """Ids of photos that look like one of a set."""
    pairs = _candidates(photos, frozen)
    if not len(pairs):
        return []
    thumbs = np.concatenate([thumbs_of(photos), thumbs_of(frozen)])
    scores, _ = likeness(thumbs, pairs + np.array([0, len(photos)]), LIKENESS)
    places = np.unique(pairs[scores >= LIKENESS, 0])
    return photos["id"].iloc[places].tolist()


def _candidates(photos: pd.DataFrame, frozen: pd.DataFrame) -> np.ndarray:
    """(p, 2) positions of a photo and one of the set whose hashes are near."""
    one, other = hashes_of(photos, "hash"), hashes_of(frozen, "hash")
    least, mirrored = 64 - 2 * BITS, hashes_of(frozen, "mirrored")  # a product of 64: equal
    found = [
        np.argwhere(np.maximum(part @ other.T, part @ mirrored.T) >= least) + np.array([start, 0])
        for start in range(0, len(one), ROWS)
        for part in [one[start : start + ROWS]]
    ]
    return np.concatenate(found)
