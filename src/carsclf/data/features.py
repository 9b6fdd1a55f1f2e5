"""Cached outputs of a frozen prefix in place of pictures."""

import math
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import torch

from carsclf.data.sampler import EpochBatches, EpochSampler

Item = dict[str, torch.Tensor]


class Features(Protocol):
    """Rows of activations that a tensor of positions picks from: a tensor, or a memory map."""

    @property
    def shape(self) -> Sequence[int]: ...

    @property
    def dtype(self) -> torch.dtype: ...

    def __getitem__(self, positions: torch.Tensor, /) -> torch.Tensor: ...


class FeatureDataset:
    """Outputs of the frozen prefix in the samples' order, `views` rows for each photo."""

    def __init__(self, features: Features, targets: list[int], views: int = 1) -> None:
        self.features, self.targets, self.views = features, torch.tensor(targets), views

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def row_bytes(self) -> int:
        return math.prod(self.features.shape[1:]) * self.features.dtype.itemsize

    def take(self, positions: np.ndarray, seeds: np.ndarray) -> Item:
        """A batch of photos; each photo's seed chooses among its views."""
        rows = positions * self.views + seeds % self.views
        targets = self.targets[torch.from_numpy(positions)]
        return {"features": self.features[torch.from_numpy(rows)], "targets": targets}


class FeatureLoader:
    """Batches of `rows` cached rows, taken at once; a DataLoader asks for one photo at a time."""

    def __init__(
        self, dataset: FeatureDataset, sampler: EpochSampler, rows: int, drop: int = 0
    ) -> None:
        self.dataset, self.rows, self.size = dataset, rows, len(sampler) - drop
        self.batch_sampler = EpochBatches(
            sampler, rows, False
        )  # where Lightning looks for set_epoch

    def __len__(self) -> int:
        return -(-self.size // self.rows)

    def __iter__(self) -> Iterator[Item]:
        positions, seeds = self.batch_sampler.sampler.drawn()
        for start in range(0, self.size, self.rows):
            part = slice(start, min(start + self.rows, self.size))
            yield self.dataset.take(positions[part], seeds[part])
