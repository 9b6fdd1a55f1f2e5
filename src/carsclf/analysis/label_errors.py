"""Labels that out-of-fold probabilities speak against: targets (n,), probabilities (n, k).

Positions of photos come back, the most certain first.
"""

from collections.abc import Sequence

import numpy as np

FILTERS = (
    *("prune_by_noise_rate", "prune_by_class", "both", "confident_learning"),
    *("predicted_neq_given", "low_normalized_margin", "low_self_confidence"),
)
"""cleanlab's `filter_by`."""


def wrong_and_sure(targets: np.ndarray, probabilities: np.ndarray, above: float) -> np.ndarray:
    """Predicted wrong with a probability above it: mislabelled, by the published rule."""
    best = probabilities.max(1)
    found = np.flatnonzero((probabilities.argmax(1) != targets) & (best > above))
    return found[np.argsort(-best[found], kind="stable")]


def undecided(probabilities: np.ndarray, between: Sequence[float]) -> np.ndarray:
    """The best probability lies between the two (ends included): several classes in one picture,
    by the published rule; the least certain first."""
    low, high = between
    best = probabilities.max(1)
    found = np.flatnonzero((best >= low) & (best <= high))
    return found[np.argsort(best[found], kind="stable")]


def expected_by_chance(probabilities: np.ndarray, above: float) -> float:
    """How many photos `wrong_and_sure` names where all labels are right, if the probabilities are
    calibrated: the sum of 1 - p over all that are as sure."""
    best = probabilities.max(1)
    return float((1 - best[best > above]).sum())


def label_issues(targets: np.ndarray, probabilities: np.ndarray, filter_by: str) -> np.ndarray:
    """Confident learning (Northcutt et al., JAIR 2021) as cleanlab finds label issues.

    The thresholds are each class's own mean self-confidence, so that no calibration is needed.
    Classes that no target belongs to take no part.
    """
    from cleanlab.filter import find_label_issues

    there = np.unique(targets)
    shares = probabilities[:, there].astype(np.float64)
    shares /= shares.sum(1, keepdims=True)
    return find_label_issues(
        np.searchsorted(there, targets),
        shares,
        filter_by=filter_by,
        return_indices_ranked_by="self_confidence",
        n_jobs=1,
    )
