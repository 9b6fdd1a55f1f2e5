"""Folds of frozen heads: what the run's initial network says of the photos, once, and k heads.

The weights are those that the run began with: its own have seen all labels of its training part.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from omegaconf import DictConfig
from torch import nn

from carsclf.data.datamodule import CarsDataModule
from carsclf.data.transforms import EvalTransform
from carsclf.features.extract import extract
from carsclf.features.head_grid import Rows, next_head
from carsclf.machine.precision import FULL
from carsclf.models.boundary import HEAD, Prefix, cut
from carsclf.models.networks import Weights, normalisation
from carsclf.models.pixels import Normalise
from carsclf.training.build import make_network

PENALTIES = (1.0, 0.31623, 0.1, 0.031623, 0.01, 3.1623e-3, 1e-3, 3.1623e-4, 1e-4)  # in equal ratios


@dataclass(frozen=True)
class Backbone:
    """The run's initial network without its head, and what it is shown."""

    prefix: Prefix
    normalise: Normalise
    transform: EvalTransform
    weights: Weights
    device: torch.device

    @torch.inference_mode()
    def rows(self, pictures: torch.Tensor) -> torch.Tensor:
        """(n, 3, size, size) uint8 to (n, d) float32."""
        return self.prefix(self.normalise(pictures.to(self.device))).float().flatten(1).cpu()


def make_backbone(config: DictConfig, data: CarsDataModule, device: torch.device) -> Backbone:
    """The network that a run's configuration begins with, cut before its head."""
    names = data.class_names
    network, weights = make_network(config, len(names), names)
    layout = config.model.channels_last is not False
    form = torch.channels_last if layout else torch.contiguous_format
    network = network.to(memory_format=form)  # type: ignore[call-overload]
    prefix, _ = cut(network, HEAD, config.data.image_size)
    normalise = Normalise(*normalisation(network), channels_last=layout)
    return Backbone(prefix.to(device), normalise.to(device), data.eval_transform, weights, device)


def features_of(backbone: Backbone, data: CarsDataModule) -> dict[str, torch.Tensor]:
    """(n, d) float32 rows of each split, in the samples' order; from the feature cache, or new."""
    also = [split for split in data.splits if split not in ("train", "val")]
    rows = extract(
        data, backbone.prefix, backbone.normalise,
        boundary=HEAD, views=1, precision=FULL, device=backbone.device, also=also,
    )  # fmt: skip
    return {
        split: rows[split][torch.arange(len(part))].float().flatten(1)
        for split, part in data.splits.items()
    }


@dataclass(frozen=True)
class Heads:
    """The k heads of the penalty with the least log loss. weights: (k, classes, d + 1)."""

    weights: np.ndarray
    penalty: float

    def probabilities(self, fold: int, rows: torch.Tensor) -> np.ndarray:
        """(n, d) rows to (n, classes) of the head that did not see the photos of this fold."""
        return _probabilities(torch.from_numpy(self.weights[fold]), rows)


def fit_folds(
    x: torch.Tensor,
    y: Sequence[int],
    folds: np.ndarray,
    classes: int,
    penalties: Sequence[float] = PENALTIES,
) -> Heads:
    """Logistic regression on all folds but one, for each fold, at the penalty that suits best.

    All folds share the penalty whose out-of-fold log loss is least, so it is the one whose
    probabilities are the most honest, too. Classes without a row get next to no probability.
    """
    targets = torch.tensor(y)
    parts = [Rows.of(x[folds != f], targets[folds != f]) for f in _numbers(folds)]
    solved: list[list[torch.Tensor]] = [[] for _ in parts]
    best, least = 0, float("inf")
    for i, penalty in enumerate(penalties):
        for rows, heads in zip(parts, solved, strict=True):
            heads.append(next_head(rows, heads, classes, penalty))
        loss = _log_loss([heads[i] for heads in solved], x, targets, folds)
        if loss > least:
            break  # it falls and rises once, and weak penalties take the longest
        best, least = i, loss
    return Heads(np.stack([heads[best].numpy() for heads in solved]), penalties[best])


def _log_loss(
    heads: Sequence[torch.Tensor], x: torch.Tensor, y: torch.Tensor, folds: np.ndarray
) -> float:
    total = 0.0
    for fold, head in enumerate(heads):
        own = torch.from_numpy(folds == fold)
        logits = x[own] @ head[:, :-1].T + head[:, -1]
        total += float(nn.functional.cross_entropy(logits, y[own], reduction="sum"))
    return total


def _probabilities(head: torch.Tensor, rows: torch.Tensor) -> np.ndarray:
    return (rows @ head[:, :-1].T + head[:, -1]).softmax(1).numpy()


def _numbers(folds: np.ndarray) -> range:
    return range(int(folds.max()) + 1)


@dataclass(frozen=True)
class FrozenFolds:
    """Heads on the rows of a frozen backbone; x: (n, d) of the photos that the folds divide."""

    backbone: Backbone
    x: torch.Tensor
    targets: Sequence[int]
    folds: np.ndarray
    classes: int

    @cached_property
    def heads(self) -> Heads:
        return fit_folds(self.x, self.targets, self.folds, self.classes)

    def judge(self, fold: int) -> np.ndarray:
        """Probabilities of the photos of a fold, in their order."""
        return self.heads.probabilities(fold, self.x[self.folds == fold])

    def probabilities(self, fold: int, pictures: torch.Tensor) -> np.ndarray:
        """(n, 3, size, size) uint8 to (n, classes) of a head that did not see this fold."""
        return self.heads.probabilities(fold, self.backbone.rows(pictures))
