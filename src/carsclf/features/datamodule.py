"""Cached outputs of a frozen prefix in place of pictures."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
import torch

from carsclf.data.loaders import Item, SplitLoaders
from carsclf.data.sampler import EpochBatches, EpochSampler

CHUNK_BYTES = 64 << 20  # of features that one training step gets
EVAL_BYTES = 16 << 20  # of features that pass at once, where activations need memory too


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
    """Batches of cached rows, taken at once; a DataLoader asks for one photo at a time.

    whole: a batch is all rows, whose order means nothing: it is the samples' own, so that what is
    computed of the rows once holds in each epoch.
    """

    def __init__(
        self,
        dataset: FeatureDataset,
        sampler: EpochSampler,
        sizes: list[int],
        *,
        whole: bool = False,
    ) -> None:
        self.dataset, self.sizes, self.whole = dataset, sizes, whole
        self.batch_sampler = EpochBatches(sampler, sizes[0])  # where Lightning finds set_epoch

    def __len__(self) -> int:
        return len(self.sizes)

    def __iter__(self) -> Iterator[Item]:
        positions, seeds = self.batch_sampler.sampler.drawn()
        if self.whole:
            order = positions.argsort()
            positions, seeds = positions[order], seeds[order]
        start = 0
        for size in self.sizes:
            part = slice(start, start + size)
            yield self.dataset.take(positions[part], seeds[part])
            start += size


class FeatureDataModule(SplitLoaders):
    """Rows of features, for the splits that have them, instead of a data module's pictures.

    rows: per split, in the samples' order, `views` for each training photo, and after those for
    each made picture. chunked: a training batch holds many mini-batches of `batch_size`, up to an
    epoch.
    """

    def __init__(
        self,
        pictures: SplitLoaders,
        rows: Mapping[str, Features],
        *,
        batch_size: int,
        views: int = 1,
        chunked: bool = False,
    ) -> None:
        super().__init__(
            pictures.splits,
            pictures.class_names,
            batch_size=batch_size,
            seed=pictures.seed,
            sampling=pictures.sampling,
            extra=pictures.extra,
            wholes=pictures.wholes,
        )
        self.rows, self.views, self.chunked = rows, views, chunked

    def loader(self, split: str, sampler: EpochSampler) -> FeatureLoader:
        samples = self.to_train if sampler.shuffle else self.splits[split]
        targets = [sample.target for sample in samples]
        views = self.views if split == "train" else 1
        dataset = FeatureDataset(self.rows[split], targets, views)
        whole = split == "train" and self.batch_size == len(dataset)
        return FeatureLoader(dataset, sampler, self._sizes(dataset, sampler), whole=whole)

    def _sizes(self, dataset: FeatureDataset, sampler: EpochSampler) -> list[int]:
        """Rows of each batch: where they are chunks, whole mini-batches."""
        if sampler.shuffle and not self.chunked:
            return sampler.batches(self.batch_size)
        most = (CHUNK_BYTES if sampler.shuffle else EVAL_BYTES) // dataset.row_bytes
        most = max(1, most // self.batch_size) * self.batch_size
        if not sampler.shuffle:
            return sampler.batches(most)
        total = sum(sampler.batches(self.batch_size))
        return [min(most, total - start) for start in range(0, total, most)]
