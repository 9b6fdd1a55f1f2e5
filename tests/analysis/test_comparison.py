"""Two models on the same pictures, against values computed by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carsclf.analysis.comparison import (
    bootstrap_difference,
    error_reduction,
    fates,
    mcnemar,
    wilson,
)
from carsclf.errors import DataError

hits = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60).map(
    lambda pairs: tuple(np.array(side) for side in zip(*pairs, strict=True))
)


def test_wilson_by_hand() -> None:
    interval = wilson(8, 10)  # (0.8 + 0.19207) / 1.38415 ± 1.96 sqrt(0.016 + 0.0096) / 1.38415
    assert interval.value == 0.8
    assert interval.low == pytest.approx(0.4902, abs=1e-4)
    assert interval.high == pytest.approx(0.9433, abs=1e-4)
    assert wilson(10, 10).high == 1.0
    assert wilson(0, 10).high == pytest.approx(3.8415 / 13.8415, abs=1e-4)  # z² / (n + z²)
    with pytest.raises(DataError, match="0 <= hits <= n"):
        wilson(11, 10)


def test_mcnemar_by_hand() -> None:
    first = np.array([1, 0, 0, 0, 0, 0, 1, 0], bool)
    second = np.array([0, 1, 1, 1, 1, 1, 1, 0], bool)  # one lost, five won
    assert mcnemar(first, second) == pytest.approx((2 * 7 - 6) / 64)
    assert mcnemar(first, first) == 1.0


@given(hits)
def test_what_order_cannot_change(pair: tuple[np.ndarray, np.ndarray]) -> None:
    first, second = pair
    assert 0 < mcnemar(first, second) <= 1
    assert mcnemar(first, second) == pytest.approx(mcnemar(second, first))
    counts, reverse = fates(first, second), fates(second, first)
    assert sum(counts.tolist()) == len(first)
    assert counts.tolist()[1] == reverse.tolist()[2]  # what vanishes one way appears the other
    assert sum(counts[["stay", "appear"]].tolist()) == (~second).sum()
    gain = bootstrap_difference(first, second, draws=200)
    assert gain.value == pytest.approx(second.mean() - first.mean())
    assert -1 <= gain.low <= gain.high <= 1


def test_bootstrap_agrees_with_the_normal_interval() -> None:
    first = np.zeros(1000)
    second = np.r_[np.ones(300), np.zeros(700)]
    gain = bootstrap_difference(first, second)
    assert gain.value == 0.3
    half = 1.96 * np.sqrt(0.3 * 0.7 / 1000)
    assert gain.low == pytest.approx(0.3 - half, abs=0.003)
    assert gain.high == pytest.approx(0.3 + half, abs=0.003)
    assert bootstrap_difference(first, second) == gain  # seeded
    averaged = bootstrap_difference(first, second / 3)  # one of three seeds got them right
    assert averaged.value == pytest.approx(0.1)
    with pytest.raises(DataError, match="999 and 1000"):
        bootstrap_difference(first[1:], second)


def test_published_reduction_of_error() -> None:
    assert error_reduction(0.4641, 0.8733) == pytest.approx(0.7636, abs=5e-5)
    assert error_reduction(0.5, 0.4) == pytest.approx(-0.2)
    assert error_reduction(1.0, 1.0) is None
