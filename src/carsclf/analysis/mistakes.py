"""What kind of errors a model makes, and where: targets (n,) and predicted (n,) class indices."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from carsclf.analysis.class_names import CarName, parse_all
from carsclf.analysis.comparison import wilson
from carsclf.analysis.metrics import confusion

KINDS = ("other year", "other body style", "other model", "other make")
"""Same make, model and body; same make and model; same make; nothing shared."""


def error_kind(true: CarName, said: CarName) -> str:
    """The first of KINDS that holds for a picture of one class taken for another.

    A body that a name leaves out counts as the same unless the years are the same too.
    """
    if true.make != said.make:
        return "other make"
    if true.model != said.model:
        return "other model"
    same_body = true.body == said.body or None in (true.body, said.body)
    return "other year" if same_body and true.year != said.year else "other body style"


def split_errors(
    targets: np.ndarray, predicted: np.ndarray, names: Sequence[str]
) -> pd.DataFrame | None:
    """Errors per kind: count, share of all errors in [0, 1] (NaN without errors).

    None where the class names have no make, model and year.
    """
    parts = parse_all(names)
    if parts is None:
        return None
    wrong = np.flatnonzero(targets != predicted)
    found = [error_kind(parts[targets[i]], parts[predicted[i]]) for i in wrong]
    counts = [found.count(kind) for kind in KINDS]
    share = [count / len(wrong) if len(wrong) else np.nan for count in counts]
    return pd.DataFrame({"kind": KINDS, "errors": counts, "share": share})


def confused_pairs(
    targets: np.ndarray, predicted: np.ndarray, names: Sequence[str], most: int
) -> pd.DataFrame:
    """Pairs of classes most often taken for each other, both directions counted.

    Columns: class, other, errors, of (pictures of both classes), share = errors / of.
    """
    matrix = confusion(targets, predicted, len(names))
    both = np.triu(matrix + matrix.T, k=1)
    order = np.argsort(-both, axis=None, kind="stable")[:most]
    images = matrix.sum(1)
    rows = []
    for a, b in zip(*np.unravel_index(order, both.shape), strict=True):
        if both[a, b]:
            errors, of = int(both[a, b]), int(images[a] + images[b])
            rows.append((names[a], names[b], errors, of, errors / of))
    return pd.DataFrame(rows, columns=["class", "other", "errors", "of", "share"])


def error_rates(wrong: np.ndarray, causes: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Error rate within the groups of each cause, with Wilson's 95 % interval.

    wrong: (n,) bool; causes: (n,) numbers, cut at their terciles, or words, a group each. Numbers
    with at most three values, and NaN, get no cut: a value each, and none.
    Columns: cause, group, images, errors, rate, low, high (shares in [0, 1]).
    """
    rows = []
    for cause, values in causes.items():
        for group, mask in _groups(np.asarray(values)).items():
            if images := int(mask.sum()):
                errors = int(wrong[mask].sum())
                rate = wilson(errors, images)
                rows.append((cause, group, images, errors, rate.value, rate.low, rate.high))
    columns = ["cause", "group", "images", "errors", "rate", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def _groups(values: np.ndarray) -> dict[str, np.ndarray]:
    if values.dtype.kind not in "fiu":
        return {str(v): values == v for v in sorted(set(values.tolist()))}
    known = values[np.isfinite(values)]
    distinct = np.unique(known)
    if len(distinct) <= 3:
        return {_short(v): values == v for v in distinct}
    first, second = np.quantile(known, [1 / 3, 2 / 3])
    if first == known.min():  # many share the lowest value: they are a group of their own
        rest = known[known > first]
        second = np.median(rest)
    spans = {
        f"up to {_short(first)}": values <= first,
        f"{_short(first)} to {_short(second)}": (values > first) & (values <= second),
        f"over {_short(second)}": values > second,
    }
    return {name: mask for name, mask in spans.items() if mask.any()}


def _short(value: float) -> str:
    return f"{value:.3g}"
