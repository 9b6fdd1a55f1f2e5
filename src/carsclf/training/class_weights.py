"""How much a training picture of each class counts in the loss; on average 1."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

Weights = Callable[[np.ndarray], np.ndarray | None]
"""Training pictures of each class to what each of them counts, None for all alike."""


def none(counts: np.ndarray) -> None:
    """All pictures count alike."""


def inverse(counts: np.ndarray) -> np.ndarray:
    """1 / pictures of the class: all classes count alike (King and Zeng 2001)."""
    return _mean_one(1 / counts.clip(1), counts)


def effective(counts: np.ndarray, *, beta: float) -> np.ndarray:
    """(1 - beta) / (1 - beta^pictures), one over the effective number (Cui et al. 2019)."""
    return _mean_one((1 - beta) / (1 - beta ** counts.clip(1)), counts)


def _mean_one(weights: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """With a mean of 1 over all pictures, so that the learning rate means what it meant."""
    return weights * counts.sum() / (weights @ counts)


class WeightedLoss(nn.CrossEntropyLoss):
    """The mean over pictures of each one's smoothed cross-entropy times its class's weight.

    Of mixed labels each counts by its share. torch's own divides by the sum of a batch's weights,
    and weighs what smoothing gives to each class by that class, so that a rare one would draw all.
    """

    def __init__(self, weights: np.ndarray, label_smoothing: float = 0.0) -> None:
        super().__init__(label_smoothing=label_smoothing)
        shares = torch.tensor(weights, dtype=torch.float32)
        self.register_buffer("of_class", shares, persistent=False)
        self.of_class: torch.Tensor

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """logits (n, classes), and labels (n,) or (n, classes)."""
        classes = len(self.of_class)
        if target.ndim == 1:
            target = nn.functional.one_hot(target, classes)
        own = target * self.of_class
        spread = own.sum(1, keepdim=True) * (self.label_smoothing / classes)
        return nn.functional.cross_entropy(input, own * (1 - self.label_smoothing) + spread)


def loss_of(weights: np.ndarray | None, label_smoothing: float) -> nn.CrossEntropyLoss:
    """The loss that a training goes down."""
    if weights is None:
        return nn.CrossEntropyLoss(label_smoothing=label_smoothing)
    return WeightedLoss(weights, label_smoothing)
