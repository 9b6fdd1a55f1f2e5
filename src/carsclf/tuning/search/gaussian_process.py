"""Multitask Bayesian optimisation: one Gaussian process over hyperparameters and fidelities.

The published study's method (Swersky, Snoek, Adams 2013). Each proposal is a configuration *and*
the length of a fresh training: the pair that is expected to raise the best predicted score at full
length most, per unit of cost. Cheap trainings come first and map the space; longer ones follow
where short ones have said what they can.
"""

import contextlib
import math
from typing import Any

import numpy as np
import torch
from botorch.exceptions.errors import ModelFittingError
from botorch.fit import fit_gpytorch_mll
from botorch.models import SingleTaskGP
from gpytorch.kernels import MaternKernel, RBFKernel, ScaleKernel
from gpytorch.means import Mean
from gpytorch.mlls import ExactMarginalLogLikelihood
from gpytorch.priors import GammaPrior, LogNormalPrior
from numpy.typing import NDArray
from ray.tune.search import Searcher
from scipy.spatial.distance import cdist
from torch import Tensor

from carsclf.tuning.search.memory import remembered
from carsclf.tuning.search.surrogate import expected_improvement, normal_scores, refit_point
from carsclf.tuning.space import Raw, Space
from carsclf.tuning.trial import FIDELITY, SCORE

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Point = tuple[Array, float]
"""A configuration in the unit cube, and a fidelity."""
FIRST = 10
"""Cheapest trainings drawn before the model says anything."""
EXPLORE = 0.25
"""Share of later proposals that are drawn at random too: a wrong model finds out."""
ANYWHERE, NEAR, LEADERS = 600, 300, 5
"""Candidates from the whole cube, candidates around the leaders, and how many leaders."""
TWIN = 0.1
"""Distance in the unit cube, per root dimension, below which two configurations are twins."""
MOST = 300
"""Observations that the model learns from; the published study has 220 trials."""
OVERHEAD = 0.02
"""What starting a training costs beside its epochs, in full trainings."""


class GaussianProcess(Searcher):
    """Proposes raw values and a fidelity; told once per finished training."""

    left = math.inf

    def __init__(self, space: Space, fidelities: tuple[float, ...], seed: int) -> None:
        super().__init__(metric=SCORE, mode="max")
        self._space, self._fidelities, self._seed = space, fidelities, seed
        self._asked: dict[str, Point] = {}
        self._pending: dict[str, Point] = {}
        self._seen: list[tuple[str, float]] = []
        self._model: tuple[int, dict[str, Any]] = (0, {})

    def suggest(self, trial_id: str) -> Raw | None:
        """See Ray's Searcher; the fidelity is one more entry."""
        generator = np.random.default_rng([self._seed, len(self._asked)])
        affordable = [f for f in self._fidelities if f <= self.left + 1e-9]
        if not affordable:
            return None
        blind = len(self._asked) < FIRST or len(self._seen) < 3
        if blind or generator.random() < EXPLORE:
            unit, fidelity = generator.random(len(self._space)), affordable[0]
        else:
            unit, fidelity = self._choose(generator, affordable)
        raw = self._space.from_unit(unit[None])[0]
        self._take(trial_id, raw, fidelity)
        return {**raw, FIDELITY: fidelity}

    def adopt(self, trial_id: str, raw: Raw) -> None:
        """Takes a given proposal instead of its own."""
        self._take(trial_id, raw, float(raw.get(FIDELITY, 1.0)))

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """See Ray's Searcher; a failed training counts as the worst seen so far."""
        self._pending.pop(trial_id, None)
        if result:
            self._seen.append((trial_id, float(result[SCORE])))
        elif error and self._seen:
            self._seen.append((trial_id, min(score for _, score in self._seen)))

    def _take(self, trial_id: str, raw: Raw, fidelity: float) -> None:
        self._asked[trial_id] = self._pending[trial_id] = self._space.to_unit([raw])[0], fidelity

    def _choose(
        self, generator: np.random.Generator, fidelities: list[float]
    ) -> tuple[Array, float]:
        self._refit()
        points, targets = self._learnt(len(self._seen))
        if pending := list(self._pending.values()):
            # Kriging believer: runs under way are taken to end as predicted, so that parallel
            # proposals spread instead of piling up on one point.
            with torch.no_grad():
                model = self._conditioned(points, targets)
                believed = model.posterior(self._inputs(pending)).mean[:, 0]
            points, targets = points + pending, torch.cat([targets, believed])
        model = self._conditioned(points, targets)
        full = self._inputs(points)
        full[:, -1] = 0.0
        with torch.no_grad():
            means = model.posterior(full).mean[:, 0]
        best = means.topk(min(LEADERS, len(means))).indices
        leaders = np.stack([points[i][0] for i in best.tolist()])
        # onto values the space can take, so that integers are judged as they will be run
        units = self._space.snap(_candidates(generator, leaders, self._space))
        gain = _gain(model, self._features(units), float(means.max()), fidelities)
        gain[_known(units, [self._asked[t] for t, _ in self._seen] + pending, fidelities)] = -1.0
        row, column = np.unravel_index(int(gain.argmax()), gain.shape)
        return units[row], fidelities[column]

    def _refit(self) -> None:
        """Fits the model's hyperparameters anew, only as observations grow by a third.

        They are a function of the first observations alone, so a resumed study finds the same.
        """
        count = refit_point(len(self._seen), 3)
        if self._model[0] != count:
            points, targets = self._learnt(count)
            model = _model(self._inputs(points), targets)
            _optimize(model)
            self._model = count, model.state_dict()

    def _learnt(self, count: int) -> tuple[list[Point], Tensor]:
        """What is learnt from the first observations: points, and their scores' quantiles."""
        scores = [score for _, score in self._seen[:count]]
        kept = remembered(scores, MOST)
        targets = torch.tensor(normal_scores(scores)[kept])
        return [self._asked[self._seen[i][0]] for i in kept], targets

    def _conditioned(self, points: list[Point], targets: Tensor) -> SingleTaskGP:
        model = _model(self._inputs(points), targets)
        model.load_state_dict(self._model[1])
        return model.eval()

    def _inputs(self, points: list[Point]) -> Tensor:
        """(n, d + 1): unit cube, then log10 of the fidelity."""
        units = self._features(np.stack([unit for unit, _ in points]))
        logs = torch.tensor([math.log10(f) for _, f in points], dtype=torch.float64)
        return torch.cat([units, logs[:, None]], dim=1)

    def _features(self, units: Array) -> Tensor:
        """Unit cube with choices as one-hot columns."""
        columns = []
        for i, parameter in enumerate(self._space):
            column = units[:, i : i + 1]
            if parameter.choices:
                count = len(parameter.choices)
                column = (
                    0.7 * np.eye(count)[np.minimum(column[:, 0] * count, count - 1).astype(int)]
                )
            columns.append(column)
        return torch.tensor(np.concatenate(columns, axis=1))


def _model(inputs: Tensor, targets: Tensor) -> SingleTaskGP:
    """Matern over hyperparameters times a smooth kernel over log fidelity.

    The priors hold where one fidelity has no data yet: 0.1 and 1.0 correlate at about 0.8, which a
    free 3x3 task matrix would leave to its random start.
    """
    size = inputs.shape[1] - 1
    values = MaternKernel(
        nu=2.5,
        ard_num_dims=size,
        active_dims=tuple(range(size)),
        lengthscale_prior=LogNormalPrior(math.log(0.5 * math.sqrt(size)), 0.8),
    )
    fidelity = RBFKernel(active_dims=(size,), lengthscale_prior=LogNormalPrior(math.log(1.5), 0.5))
    values.initialize(lengthscale=0.5 * math.sqrt(size))
    fidelity.initialize(lengthscale=1.5)
    return SingleTaskGP(
        inputs,
        targets[:, None],
        covar_module=ScaleKernel(values * fidelity, outputscale_prior=GammaPrior(2.0, 1.0)),
        mean_module=FidelityMean(),
        outcome_transform=None,
    )


def _optimize(model: SingleTaskGP) -> None:
    """Fits the hyperparameters; retries draw from torch's generator, which is put back."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        # ModelFittingError: the priors' centres, from which the fit starts, will do until the next
        with contextlib.suppress(ModelFittingError):
            fit_gpytorch_mll(
                ExactMarginalLogLikelihood(model.likelihood, model),
                optimizer_kwargs={"options": {"maxiter": 30}},
            )


class FidelityMean(Mean):
    """A constant and a slope over log fidelity: longer trainings score higher."""

    def __init__(self) -> None:
        super().__init__()
        self.constant = torch.nn.Parameter(torch.zeros(()))
        self.slope = torch.nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Mean at (..., d + 1) inputs."""
        return self.constant + self.slope * x[..., -1]


def _gain(model: Any, units: Tensor, best: float, fidelities: list[float]) -> Array:
    """(n, fidelities) expected rise of the best predicted full score, per cost.

    Observing y at fidelity m moves the prediction at full length by a normal variable of deviation
    s = cov(f_full, y) / sd(y); its expected positive part beyond ``best`` is the gain.
    """
    logs = torch.tensor([math.log10(f) for f in fidelities] + [0.0], dtype=torch.float64)
    count, levels = len(units), len(logs)
    points = torch.cat(
        [units[:, None].expand(-1, levels, -1), logs[None, :, None].expand(count, -1, 1)], dim=2
    )
    with torch.no_grad():
        posterior: Any = model.posterior(points)
        mean = posterior.mean[:, -1, 0].numpy()
        covariance = posterior.distribution.covariance_matrix.numpy()
        noise = model.likelihood.noise.item()
    spread = np.stack(
        [
            covariance[:, -1, m] / np.sqrt(np.maximum(covariance[:, m, m], 1e-12) + noise)
            for m in range(levels - 1)
        ],
        axis=1,
    )
    spread = np.maximum(spread, 1e-9)
    return expected_improvement(mean[:, None] - best, spread) / (np.array(fidelities) + OVERHEAD)


def _candidates(generator: np.random.Generator, leaders: Array, space: Space) -> Array:
    """Points all over the cube and around the leaders."""
    anywhere = generator.random((ANYWHERE, len(space)))
    near = leaders[generator.integers(len(leaders), size=NEAR)]
    step = 10.0 ** generator.uniform(-1.5, -0.5, size=(NEAR, 1))
    moved = near + step * generator.standard_normal(near.shape)
    redrawn = np.array([bool(p.choices) for p in space])
    moved = np.where(redrawn, generator.random(near.shape), np.clip(moved, 0.0, 1.0))
    change = generator.random(near.shape) < 0.5
    return np.concatenate([anywhere, np.where(change, moved, near), leaders])


def _known(units: Array, asked: list[Point], fidelities: list[float]) -> Mask:
    """(n, fidelities) bool: as good as asked before, at that fidelity or a longer one.

    Without this, a flat top is sampled over and over: twins differ by less than a training's noise.
    """
    near = cdist(units, np.stack([u for u, _ in asked])) < TWIN * math.sqrt(units.shape[1])
    longer = np.array([f for _, f in asked])[:, None] >= np.array(fidelities) - 1e-9
    return near.astype(float) @ longer.astype(float) > 0
