"""What models say of photos that they were not trained on, kept with all that it hangs on."""

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from carsclf.analysis.calibration import temperature, tempered
from carsclf.data.samples import Sample, list_some
from carsclf.data.splits import shuffled
from carsclf.errors import DataError
from carsclf.files import atomic_write
from carsclf.records import Predictions


@dataclass(frozen=True)
class OutOfFold:
    """Probabilities of each judged photo, from a model that did not see it, and of which fold.

    said: what it hangs on (run, weights, how and with which seed the folds were made) and what
    came of it (penalty, temperature).
    """

    predictions: Predictions
    fold: np.ndarray  # (n,)
    said: dict[str, Any] = field(default_factory=dict)

    def calibrated(self) -> "OutOfFold":
        """With probabilities that one temperature, fitted to all of them, made honest."""
        p = self.predictions
        t = temperature(p.targets, p.probabilities)
        shares = tempered(p.probabilities, t).astype(np.float32)
        told = Predictions(p.ids, p.paths, p.targets, shares, p.class_names)
        return OutOfFold(told, self.fold, self.said | {"temperature": t})

    def write(self, path: Path) -> None:
        """As predictions are written, with a column `fold`, and what it hangs on as metadata."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        with atomic_write(path) as temporary:
            self.predictions.write(temporary)
            table = pq.read_table(temporary).append_column("fold", pa.array(self.fold))
            told = {**(table.schema.metadata or {}), b"said": json.dumps(self.said).encode()}
            pq.write_table(table.replace_schema_metadata(told), temporary)

    @classmethod
    def read(cls, path: Path, **wanted: Any) -> "OutOfFold | None":
        """None where there is none, or what it hangs on is not what is wanted."""
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(path)
            said = json.loads((table.schema.metadata or {})[b"said"])
            fold = table["fold"].to_numpy()
        except (OSError, ValueError, KeyError):
            return None
        if {key: said.get(key) for key in wanted} != wanted:
            return None
        return cls(Predictions.read(path), fold, said)


def deal(samples: Sequence[Sample], count: int, seed: int) -> np.ndarray:
    """(n,) which fold judges each photo, each class dealt out evenly; -1: of a class of one photo.

    Such a photo trains in all folds, as a class that no model has seen cannot be predicted.
    Depends on the ids, their classes and the seed alone. Raises DataError where no photo is left.
    """
    place = {sample.id: i for i, sample in enumerate(samples)}
    folds = np.full(len(samples), -1)
    groups: dict[int, list[Sample]] = defaultdict(list)
    for sample in samples:
        groups[sample.target].append(sample)
    begin = 0  # each class begins where the last one ended, so that the folds are of equal size
    for _, group in sorted(groups.items()):
        if len(group) < 2:
            continue
        for i, sample in enumerate(shuffled(group, seed, "folds")):
            folds[place[sample.id]] = (begin + i) % count
        begin += len(group)
    if len(set(folds[folds >= 0].tolist())) < count:
        raise DataError(
            f"folds.count={count}: {int((folds >= 0).sum())} photos whose class has another one "
            f"({list_some([s.id for s in samples], 3)}) are too few: lower it"
        )
    return folds


def cross_predict(
    samples: Sequence[Sample],
    class_names: list[str],
    folds: np.ndarray,
    judge: Callable[[int], np.ndarray],
) -> Predictions:
    """Each judged photo's probabilities from its fold. judge(fold): (photos of the fold, k)."""
    shares = np.zeros((len(samples), len(class_names)), np.float32)
    for fold in range(folds.max() + 1):
        shares[folds == fold] = judge(fold)
    judged = np.flatnonzero(folds >= 0).tolist()
    return Predictions(
        [samples[i].id for i in judged],
        [str(samples[i].path) for i in judged],
        np.array([samples[i].target for i in judged]),
        shares[judged],
        class_names,
    )
