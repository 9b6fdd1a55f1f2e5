"""The model of learning curves against scikit-learn's process with the same kernel, and by hand."""

from typing import Any

import numpy as np
import pytest
from scipy.stats import norm
from sklearn import gaussian_process

from carsclf.tuning.search.curve_model import CENTRES, CurveModel, Points

# Any: its types name a float for a list of lengths, and a string for no optimizer
PROCESS: Any = gaussian_process.GaussianProcessRegressor
KERNELS: Any = gaussian_process.kernels
FLAT = 1e8
"""A length over which nothing changes: takes a column out of one of scikit-learn's kernels."""
JITTER = 1e-6


def make_points(count=40, seed=0):
    """Two configurations' columns, three lengths, and two or three points of each trial."""
    generator = np.random.default_rng(seed)
    trials = np.sort(generator.integers(0, count // 2, count))
    units = generator.random((count, 2))[trials]
    lengths = generator.choice(np.log2([0.06, 0.18, 1.0]), count)
    targets = np.sin(4 * units[:, 0]) + 0.2 * lengths + 0.1 * generator.standard_normal(count)
    return Points(units, lengths, trials), targets


def reference(logs):
    """The same process in scikit-learn; its inputs are two columns, the length and the trial."""
    x1, x2, tau, a, b, c, e, f, noise = np.exp(logs)
    units = KERNELS.Matern([x1, x2, FLAT, FLAT], nu=2.5)
    lengths = KERNELS.Matern([FLAT, FLAT, tau, FLAT], nu=2.5)
    same = KERNELS.RBF([FLAT, FLAT, FLAT, 1e-3])
    kernel = (
        KERNELS.ConstantKernel(a) * units
        + KERNELS.ConstantKernel(b) * lengths
        + KERNELS.ConstantKernel(c) * units * lengths
        + KERNELS.ConstantKernel(e) * same
        + KERNELS.ConstantKernel(f) * same * lengths
    )
    return PROCESS(kernel, alpha=noise + JITTER, optimizer=None)


def columns(points):
    return np.column_stack([points.units, points.lengths, points.trials])


def test_the_posterior_is_that_of_scikit_learn():
    points, targets = make_points()
    model = CurveModel((0, 0), None)
    logs = model.centres + np.linspace(-0.5, 0.5, len(model.centres))
    units = np.array([[0.2, 0.9], [0.5, 0.5], *points.units[:2]])
    fresh = Points(units, np.array([0.0, -2.0, 0.0, 0.0]), np.array([-1, -1, *points.trials[:2]]))
    expected = reference(logs).fit(columns(points), targets)
    mean, deviation = expected.predict(columns(fresh), return_std=True)
    found = model.posterior(logs, points, targets, fresh)
    np.testing.assert_allclose(found[0], mean, rtol=1e-6)
    np.testing.assert_allclose(found[1], deviation, rtol=1e-6)


def test_the_fit_is_a_maximum_of_scikit_learns_likelihood_times_the_priors():
    points, targets = make_points()
    model = CurveModel((0, 0), None)
    found = model.fit(points, targets)
    centres = np.log([0.5 * np.sqrt(2)] * 2 + list(CENTRES.values()))
    spreads = np.array([0.8, 0.8, 0.5, *[1.0] * 6])

    def density(logs):
        fitted = reference(logs).fit(columns(points), targets)
        return fitted.log_marginal_likelihood_value_ + norm.logpdf(logs, centres, spreads).sum()

    best = density(found)
    assert best > density(centres) + 1
    for step in 0.2 * np.eye(len(found)):
        assert density(found + step) < best
        assert density(found - step) < best


def test_a_column_that_does_nothing_gets_a_longer_length():
    points, targets = make_points()
    logs = CurveModel((0, 0), None).fit(points, targets)
    assert logs[1] > logs[0] + 0.5


def test_a_curve_is_known_where_it_was_seen_and_less_known_ahead():
    points = Points(np.array([[0.3, 0.3]]), np.array([-2.0]), np.array([0]))
    model = CurveModel((0, 0), None)
    logs = model.centres.copy()
    logs[-1] = np.log(1e-6)
    again = Points(np.repeat(points.units, 3, 0), np.array([-2.0, 0, -2.0]), np.array([0, 0, -1]))
    mean, deviation = model.posterior(logs, points, np.array([1.5]), again)
    assert mean[0] == pytest.approx(1.5, abs=1e-4)
    assert deviation[0] < 0.01 < deviation[1]
    assert 0 < mean[1] < mean[0]
    # another training of the same configuration need not end the same: 1.1 of 1.25 is shared
    assert mean[2] == pytest.approx(1.5 * 1.1 / 1.25, rel=1e-4)


def test_the_default_is_expected_to_be_good_until_it_is_seen_to_be_bad():
    default = np.array([0.5, 0.5])
    model = CurveModel((0, 0), default)
    there = Points(default[None], np.zeros(1), np.array([-1]))
    far = Points(np.array([[0.5, 1.0]]), np.zeros(1), np.array([7]))
    mean = model.posterior(model.centres, far, np.zeros(1), there)[0]
    assert 0.3 < mean[0] < 0.7
    seen = Points(default[None], np.zeros(1), np.array([0]))
    mean, deviation = model.posterior(model.centres, seen, np.array([-1.0]), there)
    # variances 0.5 + 0.3 + 0.3 + 0.5^2 = 1.35 are shared, 0.1 + 0.05 + 0.01 are its own
    assert mean[0] == pytest.approx(0.7 - 1.7 * 1.35 / 1.51, abs=1e-4)
    assert deviation[0] == pytest.approx(np.sqrt(1.5 - 1.35**2 / 1.51), abs=1e-4)


def test_the_hill_falls_with_the_distance_to_the_default():
    model = CurveModel((0, 0), np.array([0.0, 0.0]))
    units = np.array([[0.0, 0.0], [0.35, 0.35], [1.0, 1.0]])
    nothing = Points(np.zeros((0, 2)), np.zeros(0), np.zeros(0, dtype=int))
    places = Points(units, np.zeros(3), np.full(3, -1))
    mean = model.posterior(model.centres, nothing, np.zeros(0), places)[0]
    np.testing.assert_allclose(mean, 0.7 * np.exp([0.0, -0.5, -0.5 / 0.35**2]), rtol=1e-9)


def test_choices_are_as_far_apart_as_the_ends_of_a_range_whatever_their_order():
    model = CurveModel((3, 0), None)
    here = np.array([[0.1, 0.5]])
    others = np.array([[0.3, 0.5], [0.5, 0.5], [0.9, 0.5], [0.1, 1.0]])
    apart = [model.nearest(here, other[None])[0] for other in others]
    np.testing.assert_allclose(apart, np.sqrt([0, 1 / 2, 1 / 2, 0.25 / 2]))


def test_what_one_choice_scores_says_little_of_another():
    points = Points(np.array([[0.1, 0.5]]), np.zeros(1), np.array([0]))
    model = CurveModel((3, 0), None)
    units = np.array([[0.3, 0.5], [0.5, 0.5], [0.9, 0.5]])
    fresh = Points(units, np.zeros(3), np.full(3, -1))
    mean = model.posterior(model.centres, points, np.ones(1), fresh)[0]
    assert mean[0] > mean[1] + 0.1
    assert mean[1] == pytest.approx(mean[2])
