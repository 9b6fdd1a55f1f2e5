"""A Gaussian process over learning curves: configuration, and how far a training has come.

Freeze-thaw Bayesian optimisation (Swersky, Snoek, Adams 2014) with a stationary kernel over the
logarithm of the training's length, since normal scores of ranks have no asymptote to extrapolate.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize
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
        self._choices = np.array(choices)
        self._default = default
        self._names = [*("x",) * len(choices), *CENTRES]
        centres = {"x": 0.5 * math.sqrt(len(choices)), **CENTRES}
        self.centres = np.log([centres[name] for name in self._names])
        self._spreads = np.array([SPREADS.get(name, 1.0) for name in self._names])

    def fit(self, points: Points, targets: Array) -> Array:
        """Logarithms of the most probable hyperparameters: lengths (d), then as in CENTRES."""
        parts = self._parts(points, points)
        residual = torch.tensor(targets - self._mean(points.units))[:, None]
        eye = torch.eye(len(targets), dtype=torch.float64)
        centres, spreads = torch.tensor(self.centres), torch.tensor(self._spreads)

        def loss(flat: Array) -> tuple[float, Array]:
            logs = torch.tensor(flat, requires_grad=True)
            covariance = _covariance(logs, *parts) + (logs[-1].exp() + 1e-6) * eye
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
        parameters = torch.tensor(logs)
        with torch.no_grad():
            inner = _covariance(parameters, *self._parts(points, points)).numpy()
            cross = _covariance(parameters, *self._parts(places, points)).numpy()
        inner[np.diag_indices_from(inner)] += math.exp(logs[-1]) + 1e-6
        factor = cho_factor(inner, lower=True)
        mean = cross @ cho_solve(factor, targets - self._mean(points.units))
        variances = np.exp(logs[-6:-1]).sum() + DOUBT**2 * self._hill(places.units) ** 2
        explained = (cross * cho_solve(factor, cross.T).T).sum(1)
        return self._mean(places.units) + mean, np.sqrt(np.maximum(variances - explained, 1e-12))

    def nearest(self, units: Array, others: Array) -> Array:
        """Distance (n,) to the nearest of ``others`` (m, d), per root dimension; inf for none."""
        squares = sum(self._apart(units, others, i) for i in range(units.shape[1]))
        return np.sqrt(np.min(squares, axis=1, initial=np.inf) / units.shape[1])

    def _apart(self, first: Array, second: Array, column: int) -> Array:
        """(n, m) squared distance in one column; two different choices are 1 apart."""
        one, two, count = first[:, column, None], second[:, column], self._choices[column]
        if count:
            return (option(one, count) != option(two, count)).astype(float)
        return (one - two) ** 2

    def _parts(self, first: Points, second: Points) -> tuple[Tensor, ...]:
        same = (first.trials[:, None] == second.trials[None]) & (first.trials >= 0)[:, None]
        hills = DOUBT**2 * self._hill(first.units)[:, None] * self._hill(second.units)[None]
        columns = range(len(self._choices))
        parts = (
            np.stack([self._apart(first.units, second.units, i) for i in columns], axis=-1),
            (first.lengths[:, None] - second.lengths[None]) ** 2,
            same.astype(float),
            hills,
        )
        return tuple(map(torch.tensor, parts))

    def _hill(self, units: Array) -> Array:
        if self._default is None:
            return np.zeros(len(units))
        return np.exp(-((self.nearest(units, self._default[None]) / WIDTH) ** 2) / 2)

    def _mean(self, units: Array) -> Array:
        return HEIGHT * self._hill(units)


def option(units: Array, count: int) -> NDArray[np.int_]:
    """Which of ``count`` choices a place on [0, 1] stands for."""
    return np.minimum((units * count).astype(int), count - 1)


def _covariance(
    logs: Tensor, apart: Tensor, lengths: Tensor, same: Tensor, hills: Tensor
) -> Tensor:
    size = apart.shape[-1]
    tau, a, b, c, e, f, _ = logs[size:].exp()
    near = _matern(apart @ (-2 * logs[:size]).exp())
    alike = _matern(lengths / tau**2)
    return a * near + b * alike + c * near * alike + same * (e + f * alike) + hills


def _matern(squares: Tensor) -> Tensor:
    """Matern 5/2 of squared distances."""
    root = (5 * squares + 1e-20).sqrt()
    return (1 + root + root.square() / 3) * (-root).exp()
