"""A Gaussian process over learning curves: configuration, and how far a training has come.

Freeze-thaw Bayesian optimisation (Swersky, Snoek, Adams 2014) with a stationary kernel over the
logarithm of the training's length, since normal scores of ranks have no asymptote to extrapolate.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import minimize
from scipy.spatial.distance import cdist
from torch import Tensor

Array = NDArray[np.float64]
STEPS = 25
"""Iterations of the fit of the hyperparameters."""
HEIGHT, DOUBT, WIDTH = 0.7, 0.5, 0.35
"""The prior's hill around the default, in normal scores: its expected height, the deviation of
that height, and its radius in the unit cube per root dimension."""
CENTRES = {"tau": 3.0, "a": 0.5, "b": 0.3, "c": 0.3, "e": 0.1, "f": 0.05, "noise": 0.01}
"""Where the hyperparameters start and are drawn to: a length over log2 of the share of a full
training, and variances (configuration; length; both; trial; trial and length; noise)."""
SPREADS = {"x": 0.8, "tau": 0.5}
"""Deviations of the logarithms of hyperparameters around their centres; 1 where not listed."""

JITTER = 1e-6


@dataclass(frozen=True)
class Points:
    """Places on curves: configurations (n, d) in the unit cube, log2 of the share of a full
    training (n,), and the trial each belongs to (n,), below zero for one that is yet to start.
    """

    units: Array
    lengths: Array
    trials: NDArray[np.int_]

    def __add__(self, other: "Points") -> "Points":
        return Points(
            np.concatenate([self.units, other.units]),
            np.concatenate([self.lengths, other.lengths]),
            np.concatenate([self.trials, other.trials]),
        )


class CurveModel:
    """The process over a space whose columns hold ``choices`` options each, 0 for a range.

    ``default``: a configuration (d,) that is expected to do well, until data say otherwise.
    """

    def __init__(self, choices: tuple[int, ...], default: Array | None) -> None:
        self._choices = choices
        self._owners = torch.tensor([i for i, c in enumerate(choices) for _ in range(max(c, 1))])
        """The column of the unit cube that each feature is of."""
        self._default = default
        names = [*("x",) * len(choices), *CENTRES]
        centres = {"x": 0.5 * math.sqrt(len(choices)), **CENTRES}
        self.centres = np.log([centres[name] for name in names])
        self._spreads = np.array([SPREADS.get(name, 1.0) for name in names])

    def fit(self, points: Points, targets: Array) -> Array:
        """Logarithms of the most probable hyperparameters: lengths (d), then as in CENTRES."""
        features = self._features(points.units)
        apart = torch.tensor((features[:, None] - features[None]) ** 2)
        rest = self._rest(points, points)
        residual = torch.tensor(targets - self._mean(points.units))[:, None]
        eye = torch.eye(len(targets), dtype=torch.float64)
        centres, spreads = torch.tensor(self.centres), torch.tensor(self._spreads)

        def loss(flat: Array) -> tuple[float, Array]:
            logs = torch.tensor(flat, requires_grad=True)
            weights = (-2 * logs[: len(self._choices)]).exp()[self._owners]
            covariance = _covariance(logs, apart @ weights, *rest)
            covariance = covariance + (logs[-1].exp() + JITTER) * eye
            factor = torch.linalg.cholesky(covariance)
            fit = torch.linalg.solve_triangular(factor, residual, upper=False).square().sum() / 2
            penalty = ((logs - centres) / spreads).square().sum() / 2
            total = fit + factor.diagonal().log().sum() + penalty
            total.backward()
            assert logs.grad is not None
            return total.item(), logs.grad.numpy()

        bounds = [(c - 4 * s, c + 4 * s) for c, s in zip(self.centres, self._spreads, strict=True)]
        found = minimize(
            loss,
            self.centres,
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"maxiter": STEPS},
        )
        return np.asarray(found.x)

    def posterior(
        self, logs: Array, points: Points, targets: Array, places: Points
    ) -> tuple[Array, Array]:
        """Mean (m,) and deviation (m,), without noise, at ``places`` after ``targets`` (n,)."""
        inner, cross = self._kernel(logs, points, points), self._kernel(logs, points, places)
        inner[np.diag_indices_from(inner)] += math.exp(logs[-1]) + JITTER
        factor = cholesky(inner, lower=True)
        residual = targets - self._mean(points.units)
        scaled = solve_triangular(factor, np.column_stack([cross, residual]), lower=True)
        cross, residual = scaled[:, :-1], scaled[:, -1]
        variance = np.exp(logs[-6:-1]).sum() + DOUBT**2 * self._hill(places.units) ** 2
        variance -= (cross**2).sum(0)
        mean = self._mean(places.units) + residual @ cross
        return mean, np.sqrt(np.maximum(variance, 1e-12))

    def nearest(self, units: Array, others: Array) -> Array:
        """Distance (n,) to the nearest of ``others`` (m, d), per root dimension; inf for none."""
        apart = cdist(self._features(units), self._features(others))
        return apart.min(axis=1, initial=np.inf) / math.sqrt(units.shape[1])

    def _features(self, units: Array) -> Array:
        """The unit cube with choices as columns of their own: any two are 1 apart."""
        columns = []
        for column, count in zip(units.T, self._choices, strict=True):
            options = np.minimum((column * count).astype(int), count - 1)
            columns.append(np.eye(count)[options] / math.sqrt(2) if count else column[:, None])
        return np.concatenate(columns, axis=1)

    def _kernel(self, logs: Array, first: Points, second: Points) -> Array:
        scale = np.exp(logs[: len(self._choices)])[self._owners.numpy()]
        one, two = self._features(first.units) / scale, self._features(second.units) / scale
        apart = torch.tensor(cdist(one, two, "sqeuclidean"))
        return _covariance(torch.tensor(logs), apart, *self._rest(first, second)).numpy()

    def _rest(self, first: Points, second: Points) -> tuple[Tensor, ...]:
        """What of the covariance has no length of a column: see _covariance."""
        lengths = (first.lengths[:, None] - second.lengths[None]) ** 2
        same = (first.trials[:, None] == second.trials[None]) & (first.trials >= 0)[:, None]
        hills = DOUBT**2 * self._hill(first.units)[:, None] * self._hill(second.units)[None]
        return torch.tensor(lengths), torch.tensor(same.astype(float)), torch.tensor(hills)

    def _hill(self, units: Array) -> Array:
        if self._default is None:
            return np.zeros(len(units))
        return np.exp(-((self.nearest(units, self._default[None]) / WIDTH) ** 2) / 2)

    def _mean(self, units: Array) -> Array:
        return HEIGHT * self._hill(units)


def _covariance(
    logs: Tensor, apart: Tensor, lengths: Tensor, same: Tensor, hills: Tensor
) -> Tensor:
    """From squared distances of configurations and of lengths, the same trial, and the hill."""
    tau, a, b, c, e, f, _ = logs[-len(CENTRES) :].exp()
    near, alike = _matern(apart), _matern(lengths / tau**2)
    return a * near + b * alike + c * near * alike + same * (e + f * alike) + hills


def _matern(squares: Tensor) -> Tensor:
    """Matern 5/2 of squared distances."""
    root = (5 * squares + 1e-20).sqrt()
    return (1 + root + root.square() / 3) * (-root).exp()
