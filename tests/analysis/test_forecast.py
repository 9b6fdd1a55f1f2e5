"""Forecasts by hand, and against power laws that are known; the Pareto front by hand."""

import math

import numpy as np
import pytest

from carsclf.analysis.forecast import EXPONENT, Short, exponent, forecast, repeated
from carsclf.analysis.pareto import pareto
from carsclf.errors import DataError


def test_nothing_on_the_front_is_beaten_in_everything():
    gains = np.array([0.5, 0.6, 0.6, 0.4, 0.9, np.nan])
    costs = np.array([1.0, 2.0, 3.0, 1.5, 9.0, 0.1])
    assert pareto(gains, costs).tolist() == [True, True, False, False, True, False]


def test_a_second_cost_keeps_what_one_cost_would_not():
    costs = np.array([[1.0, 5.0], [2.0, 1.0], [3.0, 6.0]])
    assert pareto(np.array([0.6, 0.5, 0.5]), costs).tolist() == [True, True, False]


def test_equals_are_both_on_the_front():
    assert pareto(np.array([0.5, 0.5]), np.array([1.0, 1.0])).all()


def test_many_pictures_show_the_exponent_of_a_power_law():
    odds = {epochs: 4 * epochs**-0.7 for epochs in (1, 2, 4)}
    law = [Short(epochs, 1 / (1 + wrong), 10**7) for epochs, wrong in odds.items()]
    assert exponent(law).value == pytest.approx(0.7, abs=1e-3)


def test_one_length_says_nothing_of_the_exponent():
    found = exponent([Short(2, 0.5, 1000)])
    assert (found.value, found.error) == pytest.approx(EXPONENT)


def test_few_pictures_leave_it_near_what_is_known():
    """By hand: of 10 pictures 5 and then 2.5 are wrong, so the odds fall from 1 to 3 / 8."""
    shorts = [Short(1, 0.5, 10), Short(2, 0.75, 10)]
    variances = [1 / (10 * 0.5 * 0.5), 1 / (10 * (3 / 11) * (8 / 11))]
    measured = math.log(8 / 3) / math.log(2)
    noise = sum(variances) / math.log(2) ** 2
    by_hand = (measured / noise + 1.1 / 0.36) / (1 / noise + 1 / 0.36)
    assert exponent(shorts).value == pytest.approx(by_hand)


def test_a_forecast_by_hand():
    """0.8 wrong after an epoch, 0.5 after two: odds of 4 and 1, an exponent of 2 between them.

    So it is in the middle between 1 and 2 epochs; 8 epochs are 2 doublings on.
    """
    told = forecast([Short(1, 0.2, 10**8), Short(2, 0.5, 10**8)], 8, 10**8)

    def by_hand(keeps: float) -> float:
        doublings = np.linspace(0, 2, 10_001)
        exponents = 2 * keeps ** (doublings + 0.5)
        odds = math.exp(-math.log(2) * np.trapezoid(exponents, doublings))
        return 1 / (1 + odds)

    assert told.value == pytest.approx(by_hand(0.55), abs=1e-4)
    assert told.low == pytest.approx(by_hand(0.55 - 1.96 * 0.08), abs=2e-3)
    assert told.high == pytest.approx(by_hand(0.55 + 1.96 * 0.08), abs=2e-3)


def test_trainings_that_were_measured_lie_within_their_forecasts():
    """experiments/advise: what the first two lengths foretold, and what came of the long one."""
    for shorts, epochs, measured in (
        ([Short(1, 0.3867, 1249), Short(2, 0.6549, 1249)], 13, 0.8655),
        ([Short(1, 0.3635, 1249), Short(2, 0.5941, 1249)], 12, 0.7422),
    ):
        told = forecast(shorts, epochs, 1249)
        assert told.low < measured < told.high
        assert abs(told.value - measured) < 0.05
        assert told.high - told.low < 0.16


def test_as_long_as_what_was_trained_only_chance_is_left():
    told = forecast([Short(4, 0.8, 400)], 4, 100)
    assert told.value == pytest.approx(0.8, abs=2e-3)
    half = 1.96 * math.sqrt(0.8 * 0.2 * (1 / 400 + 1 / 100))
    assert told.high - told.low == pytest.approx(2 * half, rel=0.03)


def test_all_right_is_not_certain():
    told = forecast([Short(1, 1.0, 50), Short(2, 1.0, 50)], 10, 50)
    assert 0.9 < told.low < told.value < told.high <= 1
    assert repeated(1.0, 50, 50).low < 0.99


def test_a_longer_training_that_was_worse_makes_it_wide():
    """Measured on 360 scenes: 76 % after an epoch, 62 % after two, 1.5 % apart by chance."""
    told = forecast([Short(1, 0.76, 300), Short(2, 0.62, 300)], 2, 600)
    half_way = math.sqrt((0.24 / 0.76) * (0.38 / 0.62))  # of the odds' logarithms
    assert told.value == pytest.approx(1 / (1 + half_way), abs=5e-3)
    assert told.low < 0.62
    assert told.high > 0.76


def test_nothing_trained_foretells_nothing():
    with pytest.raises(DataError, match="at least one"):
        forecast([], 3, 10)
