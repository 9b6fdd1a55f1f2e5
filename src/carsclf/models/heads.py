"""The classifier of a network: which names are its, and it alone on the features it is given."""

import copy

import torch
from torch import nn


def in_heads(name: str, heads: tuple[str, ...]) -> bool:
    """Whether a parameter is one of a classifier's, by its name; of a module's, give `<name>.`."""
    return name.startswith(tuple(f"{head}." for head in heads))


class Head(nn.Module):
    """The classifiers alone, below the same module names as in their network.

    names: most networks have one; of several (distilled networks), each sees its own features and
    the mean is taken. dropout: the rate at which the network drops them before.
    """

    def __init__(self, network: nn.Module, names: tuple[str, ...], dropout: float = 0.0) -> None:
        super().__init__()
        self.paths, self.dropout = names, nn.Dropout(dropout)
        for name in names:
            place: nn.Module = self
            *parents, leaf = name.split(".")
            for parent in parents:
                if not hasattr(place, parent):
                    place.add_module(parent, nn.Module())
                place = getattr(place, parent)
            place.add_module(leaf, copy.deepcopy(network.get_submodule(name)))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(n, width), or of several classifiers (n, classifiers, width), to (n, classes) logits."""
        features = self.dropout(features)
        if len(self.paths) == 1:
            return self._logits(self.paths[0], features)
        each = [self._logits(p, x) for p, x in zip(self.paths, features.unbind(1), strict=True)]
        return torch.stack(each).mean(0)

    def _logits(self, path: str, features: torch.Tensor) -> torch.Tensor:
        classifier = self.get_submodule(path)
        if isinstance(classifier, nn.Conv2d):  # of one pixel, as DLA, DPN and BiT classify
            return classifier(features[:, :, None, None]).flatten(1)
        return classifier(features)

    @property
    def linear(self) -> nn.Linear | None:
        """The layer that this head is, where it is a linear one and nothing else."""
        classifier = self.get_submodule(self.paths[0])
        alone = len(self.paths) == 1 and not self.dropout.p
        return classifier if type(classifier) is nn.Linear and alone else None
