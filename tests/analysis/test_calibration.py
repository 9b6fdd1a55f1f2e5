"""Calibration and refusal, against values computed by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carsclf.analysis.calibration import (
    expected_calibration_error,
    refusal,
    reliability,
    temperature,
    tempered,
)

HITS = np.array([1, 0, 1, 1], bool)
CONFIDENCE = np.array([0.9, 0.8, 0.3, 0.2])


def test_two_bins_by_hand() -> None:
    table = reliability(HITS, CONFIDENCE, bins=2)
    assert table["images"].tolist() == [2, 2]
    assert table["confidence"].tolist() == pytest.approx([0.25, 0.85])
    assert table["accuracy"].tolist() == [1.0, 0.5]
    expected = 0.5 * 0.75 + 0.5 * 0.35
    assert expected_calibration_error(HITS, CONFIDENCE, bins=2) == pytest.approx(expected)


def test_bins_weigh_by_their_pictures_and_hold_their_upper_edge() -> None:
    hits, sure = np.array([1, 1, 0, 1], bool), np.array([0.5, 0.4, 0.45, 0.9])
    table = reliability(hits, sure, bins=2)
    assert table["images"].tolist() == [3, 1]  # (0, 0.5] and (0.5, 1]
    expected = 3 / 4 * (2 / 3 - 0.45) + 1 / 4 * (1 - 0.9)
    assert expected_calibration_error(hits, sure, bins=2) == pytest.approx(expected)


def test_refusal_by_hand() -> None:
    table = refusal(HITS, CONFIDENCE)
    assert table["refused"].tolist() == [0, 0.25, 0.5, 0.75]
    assert table["accuracy"].tolist() == pytest.approx([3 / 4, 2 / 3, 1 / 2, 1])


@given(st.lists(st.tuples(st.booleans(), st.floats(0.01, 1)), min_size=1, max_size=50))
def test_ranges(pairs: list[tuple[bool, float]]) -> None:
    hits, confidence = (np.array(side) for side in zip(*pairs, strict=True))
    assert 0 <= expected_calibration_error(hits, confidence) <= 1
    assert sum(reliability(hits, confidence)["images"].tolist()) == len(hits)
    table = refusal(hits, confidence)
    assert table["accuracy"].tolist()[0] == pytest.approx(hits.mean())
    assert max(table["refused"].tolist()) < 1


def test_one_class_only() -> None:
    hits, sure = np.ones(5, bool), np.ones(5)
    assert expected_calibration_error(hits, sure) == 0
    assert refusal(hits, sure)["accuracy"].tolist() == [1] * 5


def test_the_temperature_of_logits_that_were_scaled_is_found() -> None:
    """Labels drawn from softmax(z): of softmax(3 z) the temperature is 3."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, (20_000, 4))
    honest = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    targets = (rng.random(len(logits))[:, None] > honest.cumsum(1)).sum(1)
    sure = honest**3 / (honest**3).sum(1, keepdims=True)
    found = temperature(targets, sure)
    assert found == pytest.approx(3, rel=0.05)
    assert np.abs(tempered(sure, 3.0) - honest).max() < 1e-6


def test_a_probability_of_nothing_stays_a_number() -> None:
    shares = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], np.float32)
    assert np.isfinite(temperature(np.array([0, 1, 1]), shares))
    assert np.isfinite(tempered(shares, 2.0)).all()
