"""Costs against the published figures, and where they mean nothing."""

import pytest

from carsclf.analysis.cost import (
    NO_BASELINE,
    NO_PRICE,
    NOTHING_GAINED,
    money,
    per_point,
    study_cost,
)


def test_published_hours_are_those_of_full_trainings() -> None:
    spent = 0.1 * 100 + 0.5 * 70 + 1.0 * 50  # 220 observations, most of them short
    cost = study_cost(spent * 4.2 * 3600, spent, 220)
    assert cost.one == pytest.approx(4.2)
    assert cost.as_full == pytest.approx(924)
    assert cost.paid == pytest.approx(95 * 4.2)


def test_money_and_points() -> None:
    assert money(924, 0.9) == pytest.approx(831.6)
    assert money(924, None) is None
    assert per_point(831.6, 0.0392) == (pytest.approx(212.14, abs=0.01), "")
    assert per_point(831.6, 0.0) == (None, NOTHING_GAINED)
    assert per_point(831.6, -0.01) == (None, NOTHING_GAINED)
    assert per_point(831.6, None) == (None, NO_BASELINE)
    assert per_point(None, 0.01) == (None, NO_PRICE)
