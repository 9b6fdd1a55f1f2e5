"""Against laws that are known, and figures worked out by hand."""

import math

import numpy as np
import pytest

from carsclf.analysis.power_law import PowerLaw, fit_power_law, interval, redrawn_laws

SIZES = [120, 240, 600, 1200]


@pytest.mark.parametrize("true", [PowerLaw(2, 0.5, 0.05), PowerLaw(0.9, 0.2, 0.0)])
def test_an_exact_law_is_found(true: PowerLaw) -> None:
    found = fit_power_law(SIZES, [true.error(n) for n in SIZES])
    assert (found.a, found.b, found.c) == pytest.approx((true.a, true.b, true.c), abs=2e-3)


def test_pictures_of_a_point_by_hand() -> None:
    # 1 / sqrt(n) is 0.10 at 100 pictures and 0.09 at 1 / 0.09^2 = 123.46 of them
    assert PowerLaw(1, 0.5, 0).pictures_per_point(100) == pytest.approx(23.46, abs=0.01)
    assert PowerLaw(1, 0.5, 0.3).pictures_per_point(100) == pytest.approx(23.46, abs=0.01)
    assert math.isinf(PowerLaw(0.1, 0.5, 0.3).pictures_per_point(400))  # half a point is left
    flat = PowerLaw(0.010001 * 100**0.01, 0.01, 0.3)  # hardly a point is: 1e400 times as many
    assert math.isinf(flat.pictures_per_point(100))


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    true, judged, rng, held = PowerLaw(2, 0.5, 0.05), 300, np.random.default_rng(0), 0
    for _ in range(10):
        shift = rng.normal(0, math.sqrt(true.error(1200) * (1 - true.error(1200)) / judged))
        errors = [
            [float(true.error(n) + shift + e) for e in rng.normal(0, 0.01, draws)]
            for n, draws in zip(SIZES, (5, 5, 5, 1), strict=True)
        ]
        laws = redrawn_laws(SIZES, errors, judged, draws=30)
        low, high = interval([law.error(2400) for law in laws])
        held += low <= true.error(2400) <= high
    assert held >= 9


def test_a_size_of_one_draw_is_no_surer_than_draws_of_the_size_before_it() -> None:
    # through three sizes the law goes exactly: what it says of the last is what was redrawn
    errors = [[0.30, 0.30], [0.19, 0.21], [0.15]]  # a standard deviation of 0.0141
    laws = redrawn_laws([100, 200, 400], errors, 10**12)
    assert np.std([law.error(400) for law in laws]) == pytest.approx(0.0141, rel=0.2)


def test_ends_of_an_interval_may_be_infinite() -> None:
    assert interval([1.0] * 50 + [math.inf] * 50) == (1.0, math.inf)
