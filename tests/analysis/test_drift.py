"""Distributions that shift: worked by hand, against scipy on raw values, and by simulation."""

import numpy as np
import pytest
from scipy.stats import ks_2samp

from carsclf.analysis.comparison import newcombe
from carsclf.analysis.drift import (
    Shift,
    adjusted,
    psi,
    psi_by_chance,
    shift_of_classes,
    shift_of_numbers,
    verdict,
)
from carsclf.errors import DataError


def test_stability_index_by_hand() -> None:
    """(3, 3) and (1, 5), each raised by a half: p = (1/2, 1/2), q = (3/14, 11/14)."""
    by_hand = 2 / 7 * np.log(11 / 3)
    assert psi(np.array([3, 3]), np.array([1, 5])) == pytest.approx(by_hand)
    assert psi(np.array([1, 5]), np.array([3, 3])) == pytest.approx(by_hand)
    assert psi(np.array([7, 2, 0]), np.array([7, 2, 0])) == 0
    with pytest.raises(DataError, match="none empty"):
        psi(np.array([0, 0]), np.array([1, 5]))


def test_numbers_against_scipy_on_the_raw_values() -> None:
    apart = shift_of_numbers(np.array([1, 2, 3, 4.0]), np.array([3, 4, 5, 6.0]), cells=2)
    assert apart.distance == 0.5  # below 3 lie 2 of 4, and none
    # below the median, 2.5, lie 2 and none; above 2 and 4: p = (1/2, 1/2), q = (1/10, 9/10)
    assert apart.psi == pytest.approx(0.4 * np.log(9))
    rng = np.random.default_rng(0)
    first, later = rng.beta(5, 2, 700), rng.beta(4, 2, 900)
    found, told = shift_of_numbers(first, later), ks_2samp(first, later, method="asymp")
    assert (found.distance, found.p) == (told.statistic, told.pvalue)  # type: ignore[attr-defined]


def test_what_is_always_sure_does_not_shift() -> None:
    same = shift_of_numbers(np.ones(50), np.ones(80))
    assert (same.psi, same.chance, same.distance, same.p) == (0, 0, 0, 1)


def test_classes_by_hand() -> None:
    """chi² = 200 (50·25 - 50·75)² / (100·100·125·75) = 13.33, one degree of freedom."""
    found = shift_of_classes(np.array([50, 50]), np.array([75, 25]))
    assert found.distance == 0.25
    assert found.p == pytest.approx(0.000261, abs=1e-6)
    rare = np.concatenate([[500], np.eye(100, dtype=int)[0]]), np.concatenate([[500], np.ones(100)])
    assert shift_of_classes(*rare).psi == pytest.approx(
        psi(np.array([500, 1]), np.array([500, 100]))  # a hundred rare ones, told together
    )


def test_the_index_by_chance() -> None:
    rng, shares = np.random.default_rng(0), np.full(20, 0.05)
    draws = zip(rng.multinomial(400, shares, 3000), rng.multinomial(900, shares, 3000), strict=True)
    beyond = np.mean([psi(one, two) > psi_by_chance(400, 900, 20) for one, two in draws])
    assert 0.035 < beyond < 0.065


def test_many_tests_and_verdicts() -> None:
    """Benjamini and Hochberg by hand: 3 p / rank, from the largest down."""
    assert adjusted(np.array([0.01, 0.04, 0.03])) == pytest.approx([0.03, 0.04, 0.04])
    assert len(adjusted(np.empty(0))) == 0
    for index, chance, p, word in (
        (0.3, 0.02, 0.001, "large"),
        (0.15, 0.02, 0.001, "moderate"),
        (0.05, 0.02, 0.0, "none"),  # certain, and too small to matter
        (0.3, 0.4, 0.001, "none"),  # few pictures
        (0.3, 0.02, 0.2, "none"),
    ):
        assert verdict(Shift(index, chance, 0.1, p), p) == word


def test_newcombe_as_published() -> None:
    """Newcombe 1998, table II: 56/70 - 48/80, and 10/10 - 0/10."""
    found = newcombe(48, 80, 56, 70)
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert newcombe(0, 10, 10, 10).low == pytest.approx(0.6075, abs=5e-5)
