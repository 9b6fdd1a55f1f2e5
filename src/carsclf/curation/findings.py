"""The table of findings: what a row says, how it is written, and what a data set's photos are."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from carsclf.curation.out_of_fold import OutOfFold
from carsclf.data.samples import Sample
from carsclf.files import atomic_write

KINDS = {
    "mislabelled": "predicted wrong, and surely",
    "several_classes": "no class is probable, two may be in one picture",
    "label_error": "confident learning doubts the label",
    "exact_duplicate": "the same file twice",
    "near_duplicate": "one photo, saved, resized, cropped or mirrored anew",
    "lookalike_classes": "classes that are taken for each other",
    "few_photos": "classes with few photos",
    "unreadable": "no picture that can be read",
    "too_small": "few pixels",
    "too_dark": "hardly any light",
    "too_bright": "hardly anything but light",
    "blurred": "far less sharp than the rest",
    "odd_shape": "far longer or higher than the rest",
    "small_subject": "the box fills little of the picture",
    "on_its_side": "turned, it is its class",
}
"""What each kind of finding is, in the order of the table."""
COLUMNS = {
    **dict.fromkeys(("kind", "id", "path", "split", "class", "suggested"), "str"),
    "score": "float64",
    "reason": "str",
    "predicted": "str",
    "probability": "float64",
    **dict.fromkeys(("other", "other_class", "other_split"), "str"),
    **dict.fromkeys(("nearest_own", "nearest_suggested"), "str"),
}
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Library:
    """All photos of a run's data, in one order, and what is known of each.

    features: (n, d) rows of length 1; measures: a row each, see carsclf.curation.photos.
    """

    samples: Sequence[Sample]
    splits: Sequence[str]
    class_names: list[str]
    features: np.ndarray
    measures: pd.DataFrame
    said: OutOfFold

    @cached_property
    def targets(self) -> np.ndarray:
        return np.array([sample.target for sample in self.samples])

    @cached_property
    def judged(self) -> np.ndarray:
        """Positions of the photos that `said` judges, in its order."""
        place = {sample.id: i for i, sample in enumerate(self.samples)}
        return np.array([place[id] for id in self.said.predictions.ids])

    def name(self, photo: int) -> str:
        return self.class_names[self.samples[photo].target]

    def row(self, kind: str, photo: int, reason: str, score: float, **more: Any) -> dict[str, Any]:
        """A finding about one photo."""
        sample = self.samples[photo]
        return {
            "kind": kind, "id": sample.id, "path": str(sample.path), "split": self.splits[photo],
            "class": self.name(photo), "reason": reason, "score": float(score), **more,
        }  # fmt: skip

    def pair(self, kind: str, one: int, two: int, reason: str, score: float) -> dict[str, Any]:
        """A finding about two photos."""
        other = self.samples[two]
        told = {"other": other.id, "other_class": self.name(two), "other_split": self.splits[two]}
        return self.row(kind, one, reason, score, **told)

    def nearest(self, photo: int, target: int) -> str | None:
        """The id of the photo of a class whose features are nearest; None where there is none."""
        among = np.flatnonzero((self.targets == target) & (np.arange(len(self.samples)) != photo))
        if not len(among):
            return None
        best = int((self.features[among] @ self.features[photo]).argmax())
        return self.samples[int(among[best])].id


def as_table(rows: Rows) -> pd.DataFrame:
    """One row per finding, kinds in their order, all columns there whatever was found."""
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    order = {kind: i for i, kind in enumerate(KINDS)}
    return table.sort_values("kind", key=lambda k: k.map(order), kind="stable", ignore_index=True)


def write_table(table: pd.DataFrame, folder: Path) -> None:
    """findings.parquet, and the same as findings.csv."""
    with atomic_write(folder / "findings.parquet") as temporary:
        table.to_parquet(temporary)
    with atomic_write(folder / "findings.csv") as temporary:
        table.to_csv(temporary, index=False)
