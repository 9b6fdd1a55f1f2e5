"""Metrics against hand-computed values, invariants, and torchmetrics."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.classification import MulticlassF1Score

from carsclf.analysis.metrics import confusion, macro_f1, metrics, per_class, top_k, worst
from carsclf.errors import DataError

TARGETS = np.array([0, 0, 1, 2])
PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.2, 0.5, 0.3], [0.5, 0.1, 0.4]])


def test_by_hand() -> None:
    values = metrics(TARGETS, PROBABILITIES)
    assert values["top1"] == 0.5
    assert values["top5"] == 1.0
    assert top_k(TARGETS, PROBABILITIES, 2) == 0.75
    # class 0: TP 1 FP 1 FN 1; class 1: TP 1 FP 1 FN 0; class 2: TP 0
    assert values["macro_f1"] == pytest.approx((2 / 4 + 2 / 3 + 0) / 3)
    assert values["loss"] == pytest.approx(-np.log([0.7, 0.1, 0.5, 0.4]).mean())
    matrix = confusion(TARGETS, PROBABILITIES.argmax(1), 3)
    assert matrix.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]
    assert worst(TARGETS, PROBABILITIES, 5).tolist() == [1, 3]
    table = per_class(TARGETS, PROBABILITIES.argmax(1), ["a", "b", "c"])
    assert table["images"].tolist() == [2, 1, 1]
    assert table["accuracy"].tolist() == [0.5, 1.0, 0.0]
    assert table["precision"].tolist()[:2] == [0.5, 0.5]  # each said twice, once rightly
    assert np.isnan(table["precision"].tolist()[2])  # never said


@given(st.integers(0, 1000), st.integers(2, 9), st.integers(1, 40))
@settings(max_examples=25, deadline=None)
def test_agrees_with_torchmetrics_and_keeps_its_bounds(seed: int, k: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(k), n).astype(np.float32)
    targets = rng.integers(0, k, n)
    values = metrics(targets, probabilities)
    f1 = MulticlassF1Score(k, average="macro")(*map(torch.from_numpy, (probabilities, targets)))
    assert values["macro_f1"] == pytest.approx(float(f1), abs=1e-5)
    assert 0 <= values["top1"] <= values["top5"] <= 1
    assert k > 5 or values["top5"] == 1


def test_lengths_and_missing_labels_are_refused() -> None:
    with pytest.raises(DataError, match="3 targets but 4 rows"):
        metrics(TARGETS[:3], PROBABILITIES)
    with pytest.raises(DataError, match="without a label"):
        metrics(np.array([0, -1, 1, 2]), PROBABILITIES)
    assert macro_f1(np.array([0]), np.array([0]), 3) == 1.0
