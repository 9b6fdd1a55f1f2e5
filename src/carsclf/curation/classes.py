"""Findings about classes: which are taken for each other, and which have few photos."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from carsclf.analysis.mistakes import confused_pairs
from carsclf.curation.findings import Library, Rows
from carsclf.data.samples import Sample, Source


def lookalikes(library: Library, most: int) -> Rows:
    """Pairs of classes most often taken for each other out of fold, with how near they lie.

    score: errors among the photos of both; the reason names the cosine of their mean features.
    """
    said = library.said.predictions
    names = library.class_names
    pairs = confused_pairs(said.targets, said.predicted, names, most)
    centres = _centres(library)
    rows = []
    for pair in pairs.to_dict("records"):
        near = float(centres[names.index(pair["class"])] @ centres[names.index(pair["other"])])
        rows.append(
            {
                "kind": "lookalike_classes", "class": pair["class"], "other_class": pair["other"],
                "score": pair["share"],
                "reason": f"{pair['errors']} of {pair['of']} photos of both taken for the other; "
                f"cosine of their mean features {near:.3f}",
            }
        )  # fmt: skip
    return rows


def few_photos(
    source: Source, splits: Mapping[str, Sequence[Sample]], least: int, used: list[str]
) -> Rows:
    """Classes with fewer photos for training and validation than asked for, and what each lacks.

    source: with the classes that the run left out, too; of those all photos count.
    """
    held = {sample.id for sample in splits.get("test", [])}
    counts = Counter(s.target for s in source.samples if s.id not in held)
    rows = []
    for target, name in enumerate(source.class_names):
        if (there := counts[target]) < least:
            out = "" if name in used else "; the run left it out"
            words = f"{there} photos, {least - there} below {least}{out}"
            rows.append(
                {"kind": "few_photos", "class": name, "score": least - there, "reason": words}
            )
    return sorted(rows, key=lambda row: -row["score"])


def _centres(library: Library) -> np.ndarray:
    """(k, d) the direction of each class's mean features."""
    k = len(library.class_names)
    sums = np.zeros((k, library.features.shape[1]), np.float32)
    np.add.at(sums, library.targets, library.features)
    return sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
