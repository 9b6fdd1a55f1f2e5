"""BatchNorm's statistics measured anew, where weights were averaged and none fit the mean."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch


def measure_anew(
    norms: Sequence[Any], forward: Callable[[Any], torch.Tensor], inputs: Iterable[Any]
) -> None:
    """Gives BatchNorms, of a network in evaluation mode, the plain mean statistics of these inputs.

    As torch.optim.swa_utils.update_bn, which would train all of the network: change frozen
    statistics too, and drop units.
    """
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # each batch counts the same
        norm.train()
    for each in inputs:
        forward(each)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
