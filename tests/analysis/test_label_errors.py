"""The published rules on probabilities made by hand, and confident learning worked out anew."""

import numpy as np
import pytest

from carsclf.analysis.label_errors import (
    expected_by_chance,
    label_issues,
    undecided,
    wrong_and_sure,
)


def rows(*best: float, classes: int = 3) -> np.ndarray:
    """Class 0 with these probabilities, the rest shared by the others."""
    p = np.array(best)[:, None]
    return np.concatenate([p, np.repeat((1 - p) / (classes - 1), classes - 1, 1)], 1)


def test_mislabelled_is_wrong_and_above_the_threshold() -> None:
    shares = rows(0.95, 0.91, 0.9, 0.99, 0.7)
    targets = np.array([1, 2, 1, 0, 1])
    assert wrong_and_sure(targets, shares, 0.9).tolist() == [0, 1]  # not the right one, not 0.9
    assert wrong_and_sure(targets, shares, 0.5).tolist() == [0, 1, 2, 4]
    assert expected_by_chance(shares, 0.9) == pytest.approx(0.05 + 0.09 + 0.01)


def test_undecided_is_between_the_two_whatever_the_label() -> None:
    assert undecided(rows(0.61, 0.6, 0.55, 0.5, 0.49, 0.9), [0.5, 0.6]).tolist() == [3, 2, 1]


def test_confident_learning_by_its_definition() -> None:
    """Northcutt et al. 2021, off-diagonals of the confident joint, counted with two loops."""
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 4, 300)
    shares = rng.dirichlet(np.full(4, 0.7), 300)
    shares[np.arange(300), targets] += rng.random(300) * 2
    shares /= shares.sum(1, keepdims=True)
    means = [shares[targets == k, k].mean() for k in range(4)]
    expected = []
    for i in range(300):
        above = [k for k in range(4) if shares[i, k] >= means[k]]
        if above and max(above, key=lambda k: shares[i, k]) != targets[i]:
            expected.append(i)
    found = label_issues(targets, shares, "confident_learning")
    assert sorted(found.tolist()) == expected
    own = shares[found, targets[found]]
    assert (np.diff(own) >= 0).all()  # the least probable label first


def test_classes_without_a_photo_take_no_part() -> None:
    rng = np.random.default_rng(1)
    targets = rng.integers(0, 3, 90) * 2  # classes 0, 2 and 4 of 5
    shares = np.full((90, 5), 0.02)
    shares[np.arange(90), targets] = 0.92
    shares[7] = np.full(5, 0.02)
    shares[7, (targets[7] + 2) % 6] = 0.92
    assert label_issues(targets, shares, "prune_by_noise_rate").tolist() == [7]
