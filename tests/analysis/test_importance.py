"""Whose influence is whose, where it is known."""

import numpy as np
import pytest

from carsclf.analysis.importance import importances


def test_each_hyperparameter_gets_its_own_influence() -> None:
    generator = np.random.default_rng(0)
    units, epochs = generator.random((80, 3)), generator.integers(1, 10, 80).astype(float)
    table = importances(units, epochs, 3 * units[:, 0] + units[:, 2], ["rate", "none", "decay"])
    rate, none, decay = table["mean"].tolist()
    assert table["key"].tolist() == ["rate", "none", "decay"]
    assert rate > 3 * decay > 9 * max(none, 1e-3)  # of the variance 9 parts and 1
    assert rate == pytest.approx(2 * 0.9, rel=0.2)  # shuffled is twice as far off as the mean


def test_what_longer_training_brings_is_put_down_to_no_hyperparameter() -> None:
    generator = np.random.default_rng(0)
    units, epochs = generator.random((80, 2)), generator.integers(1, 10, 80).astype(float)
    table = importances(units, epochs, epochs / 10, ["rate", "decay"])
    assert max(table["mean"].tolist()) < 0.01
