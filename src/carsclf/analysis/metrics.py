"""Classification metrics as pure functions over arrays: targets (n,), probabilities (n, k)."""

import numpy as np
import pandas as pd

from carsclf.errors import DataError

LARGEST_LOSS = float(-np.log(np.finfo(np.float32).tiny))  # 87.3 nats, of one picture


def metrics(targets: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """top1, top5, macro_f1 in [0, 1] and loss (mean negative log-likelihood, nats)."""
    check(targets, probabilities)
    return {
        "top1": top_k(targets, probabilities, 1),
        "top5": top_k(targets, probabilities, min(5, probabilities.shape[1])),
        "macro_f1": macro_f1(targets, probabilities.argmax(1), probabilities.shape[1]),
        "loss": log_loss(targets, probabilities),
    }


def top_k(targets: np.ndarray, probabilities: np.ndarray, k: int) -> float:
    """Share of images whose class is among the k most probable, in [0, 1]."""
    best = np.argpartition(-probabilities, k - 1, axis=1)[:, :k]
    return float((best == targets[:, None]).any(axis=1).mean())


def macro_f1(targets: np.ndarray, predicted: np.ndarray, k: int) -> float:
    """Mean over classes of 2 TP / (2 TP + FP + FN), in [0, 1].

    Classes that neither occur nor are predicted are left out, as torchmetrics does.
    """
    matrix = confusion(targets, predicted, k)
    hits, given, said = np.diag(matrix), matrix.sum(1), matrix.sum(0)
    there = (given + said) > 0
    return float((2 * hits[there] / (given + said)[there]).mean())


def absent_classes(targets: np.ndarray, class_names: list[str]) -> list[str]:
    """Names of the classes that no target belongs to."""
    there = np.bincount(targets, minlength=len(class_names)) > 0
    return [name for name, here in zip(class_names, there, strict=True) if not here]


def log_loss(targets: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean of -ln p(class), each at most LARGEST_LOSS: what float32 probabilities can tell."""
    p = probabilities[np.arange(len(targets)), targets].astype(np.float64)
    return float(-np.log(np.clip(p, np.exp(-LARGEST_LOSS), None)).mean())


def confusion(targets: np.ndarray, predicted: np.ndarray, k: int) -> np.ndarray:
    """(k, k) counts: row = class, column = predicted class."""
    return np.bincount(targets * k + predicted, minlength=k * k).reshape(k, k)


def per_class(targets: np.ndarray, predicted: np.ndarray, class_names: list[str]) -> pd.DataFrame:
    """One row per class: images, accuracy (recall) and precision in [0, 1]; NaN where undefined."""
    matrix = confusion(targets, predicted, len(class_names))
    with np.errstate(invalid="ignore"):
        recall, precision = (np.diag(matrix) / matrix.sum(axis) for axis in (1, 0))
    return pd.DataFrame(
        {
            "class": class_names,
            "images": matrix.sum(1),
            "accuracy": recall,
            "precision": precision,
        }
    )


def worst(targets: np.ndarray, probabilities: np.ndarray, most: int) -> np.ndarray:
    """Positions of the errors with the most confident wrong prediction, worst first."""
    wrong = np.flatnonzero(probabilities.argmax(1) != targets)
    return wrong[np.argsort(-probabilities[wrong].max(1), kind="stable")][:most]


def check(targets: np.ndarray, probabilities: np.ndarray) -> None:
    """Refuses lengths that differ, targets that are no column, and what is no probability."""
    if len(targets) != len(probabilities):
        raise DataError(f"{len(targets)} targets but {len(probabilities)} rows of probabilities")
    if len(targets) == 0:
        raise DataError("no pictures: metrics of nothing are undefined")
    if targets.min() < 0 or targets.max() >= probabilities.shape[1]:
        raise DataError(
            f"targets lie in {targets.min()}..{targets.max()}, expected "
            f"0..{probabilities.shape[1] - 1} (pictures without a label cannot be scored)"
        )
    if bad := int((~np.isfinite(probabilities)).any(axis=1).sum()):
        raise DataError(
            f"the model says no number of {bad} of {len(targets)} pictures (nan or infinite "
            "outputs): its weights have diverged or are damaged"
        )
