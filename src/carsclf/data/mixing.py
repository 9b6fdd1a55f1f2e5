"""Training batches in which each picture is mixed with another one, and the labels alike.

The share is one number a batch, drawn from torch's generator, which a training sets anew at each
epoch's start: what is mixed depends on (seed, epoch, batch) alone. Which pictures meet is given by
the order of the epoch, which is random: each meets its neighbour.
"""

from collections.abc import Callable

import torch
from torchvision.transforms import v2

from carsclf.data.loaders import Item

Mixing = Callable[[Item], Item]
"""A batch with labels (n,) to one whose inputs are floats, and whose labels are (n, classes)."""


def none(classes: int) -> None:
    """Batches stay as they are."""


def mixup(classes: int, *, alpha: float) -> Mixing:
    """Each input is share x itself + (1 - share) x its neighbour (Zhang et al. 2018).

    share ~ Beta(alpha, alpha). Of cached features the rows are mixed, which is manifold mixup at
    the boundary (Verma et al. 2019).
    """
    return _Mixed(v2.MixUp(alpha=alpha, num_classes=classes))


def cutmix(classes: int, *, alpha: float) -> Mixing:
    """A box of each picture comes from its neighbour (Yun et al. 2019).

    The box has the picture's proportions, 1 - share of its area with share ~ Beta(alpha, alpha),
    and lies anywhere; what of it lies outside is cut off, and labels count what was left.
    """
    return _Mixed(v2.CutMix(alpha=alpha, num_classes=classes))


class _Mixed:
    """torchvision's transform on a batch of ours."""

    def __init__(self, transform: v2.MixUp | v2.CutMix) -> None:
        self.transform = transform

    def __call__(self, batch: Item) -> Item:
        (name,) = batch.keys() - {"targets"}
        inputs = batch[name].float()
        # it takes pictures only; a row of features is one of a single line
        like = inputs if inputs.ndim == 4 else inputs.reshape(len(inputs), 1, 1, -1)
        mixed, targets = self.transform(like, batch["targets"])
        return {name: mixed.view(inputs.shape) if like is not inputs else mixed, "targets": targets}


def mix_each(mixing: Mixing, batch: Item, size: int) -> Item:
    """A chunk of mini-batches of so many rows, each of which is mixed by itself."""
    parts = zip(*(tensor.split(size) for tensor in batch.values()), strict=True)
    mixed = [mixing(dict(zip(batch, part, strict=True))) for part in parts]
    return {name: torch.cat([part[name] for part in mixed]) for name in batch}
