"""Findings about labels: the published rules for confusing images, and confident learning."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from carsclf.analysis.label_errors import label_issues, undecided, wrong_and_sure
from carsclf.curation.findings import Library, Rows


def confusing(library: Library, wrong_above: float, several: Sequence[float]) -> Rows:
    """The rules of "Boost Your Image Classification Model", on out-of-fold probabilities."""
    said = library.said.predictions
    sure = wrong_and_sure(said.targets, said.probabilities, wrong_above)
    between = undecided(said.probabilities, several)
    return [
        *(_doubt(library, "mislabelled", i, "predicted as {predicted} with {p:.0%}") for i in sure),
        *(_undecided(library, i) for i in between),
    ]


def label_errors(library: Library, filter_by: str) -> Rows:
    """cleanlab's label issues, the label with the least probability first."""
    said = library.said.predictions
    words = "its label has {own:.1%}, {predicted} {p:.0%}"
    return [
        _doubt(library, "label_error", i, words)
        for i in label_issues(said.targets, said.probabilities, filter_by)
    ]


def _doubt(library: Library, kind: str, i: int, words: str) -> dict[str, Any]:
    """The i-th judged photo, of which another class is suggested; score: 1 - p(label)."""
    said = library.said.predictions
    photo, shares = int(library.judged[i]), said.probabilities[i]
    own, best = float(shares[said.targets[i]]), int(shares.argmax())
    name = said.class_names[best]
    return library.row(
        kind, photo, words.format(predicted=name, p=shares[best], own=own), 1 - own,
        suggested=name, predicted=name, probability=float(shares[best]),
        nearest_own=library.nearest(photo, int(said.targets[i])),
        nearest_suggested=library.nearest(photo, best),
    )  # fmt: skip


def _undecided(library: Library, i: int) -> dict[str, Any]:
    """Its two most probable classes; the one that is not its label is suggested."""
    said = library.said.predictions
    photo, shares = int(library.judged[i]), said.probabilities[i]
    first, second = np.argsort(-shares, kind="stable")[:2]
    names = said.class_names
    words = f"{names[first]} {shares[first]:.0%} or {names[second]} {shares[second]:.0%}"
    further = int(second if first == said.targets[i] else first)
    return library.row(
        "several_classes", photo, words, 1 - float(shares[first]),
        suggested=names[further], predicted=names[first], probability=float(shares[first]),
        nearest_own=library.nearest(photo, int(said.targets[i])),
        nearest_suggested=library.nearest(photo, further),
    )  # fmt: skip
