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
    law = [Short(epochs, 1 - 0.8 * epochs**-0.7, 10**7) for epochs in (1, 2, 4)]
    assert exponent(law).value == pytest.approx(0.7, abs=1e-3)


def test_one_length_says_nothing_of_the_exponent():
    found = exponent([Short(2, 0.5, 1000)])
    assert (found.value, found.error) == pytest.approx(EXPONENT)


def test_few_pictures_leave_it_near_what_is_known():
    """By hand: 2 epochs instead of 1 halve the error of 0.5 on so few pictures."""
    shorts = [Short(1, 0.5, 10), Short(2, 0.75, 10)]
    errors = [5.5 / 11, 3 / 11]
    variances = [(1 - e) / (10 * e) for e in errors]
    measured = math.log(errors[0] / errors[1]) / math.log(2)
    noise = sum(variances) / math.log(2) ** 2
    by_hand = (measured / noise + 0.4 / 0.09) / (1 / noise + 1 / 0.09)
    assert exponent(shorts).value == pytest.approx(by_hand)


def test_a_forecast_by_hand():
    """0.5 wrong after 2 epochs, exponent 0.7 nearly certain: 8 epochs are 2 doublings of it."""
    shorts = [Short(e, 1 - 0.5 * (e / 2) ** -0.7, 10**8) for e in (1, 2)]
    told = forecast(shorts, 8, 10**8)
    assert told.value == pytest.approx(1 - 0.5 * 4**-0.7, abs=1e-3)
    assert told.low == pytest.approx(1 - 0.5 * 4 ** -(0.5 * 0.7), abs=1e-3)
    assert told.high == pytest.approx(1 - 0.5 * 4 ** -(1.5 * 0.7), abs=1e-3)


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
    assert told.value == pytest.approx(1 - math.sqrt(0.24 * 0.38), abs=5e-3)  # half way, in logs
    assert told.low < 0.62
    assert told.high > 0.76


def test_nothing_trained_foretells_nothing():
    with pytest.raises(DataError, match="at least one"):
        forecast([], 3, 10)
