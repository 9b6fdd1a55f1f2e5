"""The DataModule: datasets and loaders whose order and randomness depend on (seed, epoch, photo).

Nothing here keeps a random state: a resumed epoch, another number of workers or another rank count
sees exactly the pictures that an undisturbed run would have seen.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset, Sampler

from carsclf.data.augment import draws
from carsclf.data.images import read_picture
from carsclf.data.packed import Pack
from carsclf.data.samples import Sample
from carsclf.data.splits import Splits
from carsclf.data.transforms import EvalTransform, Stored, TrainTransform
from carsclf.errors import ConfigError

Item = dict[str, torch.Tensor]


class PictureDataset(Dataset[Item]):
    """Transformed photos; indexed by (position, seed of its random changes).

    Those that `pack` holds are taken from there, the others decoded: the pixels are the same.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        transform: TrainTransform | EvalTransform,
        *,
        crop: str = "none",
        margin: float = 0.0,
        pack: Pack | None = None,
    ) -> None:
        self.samples = samples
        self.transform, self.pack = transform, pack
        self.crop, self.margin = crop, margin

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: tuple[int, int]) -> Item:
        return {name: value[0] for name, value in self.__getitems__([key]).items()}

    def __getitems__(self, keys: Sequence[tuple[int, int]]) -> Item:
        """A batch at once: pictures (n, 3, size, size) uint8, channels last in memory."""
        size, samples = self.transform.size, [self.samples[index] for index, _ in keys]
        pictures = torch.empty(len(keys), size, size, 3, dtype=torch.uint8)
        numbers = draws([seed for _, seed in keys])
        for place, sample, own in zip(pictures.unbind(), samples, numbers, strict=True):
            place.copy_(self.transform.finish(self._stored(sample), own))
        targets = torch.tensor([sample.target for sample in samples])
        return {"pictures": pictures.permute(0, 3, 1, 2), "targets": targets}

    def _stored(self, sample: Sample) -> torch.Tensor:
        """(height, width, 3), as a pack keeps it."""
        if self.pack is not None and sample in self.pack:
            return self.pack[sample]
        picture = read_picture(sample, crop=self.crop, margin=self.margin)
        return self.transform.stored(picture).permute(1, 2, 0)


class FeatureDataset(Dataset[Item]):
    """Outputs of the frozen prefix, one row per photo, in the samples' order."""

    def __init__(self, features: Sequence[torch.Tensor] | torch.Tensor, targets: list[int]) -> None:
        self.features, self.targets = features, torch.tensor(targets)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, key: tuple[int, int]) -> Item:
        return {"features": self.features[key[0]], "targets": self.targets[key[0]]}


class EpochSampler(Sampler[tuple[int, int]]):
    """(position, seed) pairs of one epoch; shuffled by (seed, epoch), sharded by rank.

    Lightning calls `set_epoch` before each epoch, after a resume too.
    """

    def __init__(
        self, size: int, *, seed: int, shuffle: bool, rank: int = 0, world: int = 1
    ) -> None:
        self.size, self.seed, self.shuffle = size, seed, shuffle
        self.rank, self.world = rank, world
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-(self.size - self.rank) // self.world)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        rng = np.random.default_rng((self.seed, self.epoch))
        order = rng.permutation(self.size) if self.shuffle else np.arange(self.size)
        seeds = rng.integers(2**63, size=self.size)
        for position in order[self.rank :: self.world]:
            yield int(position), int(seeds[position])


class CarsDataModule(pl.LightningDataModule):
    """Loaders over the splits of one source. A batch holds pictures (uint8) or features.

    `features`, given per split name, replaces the pictures by cached outputs of a frozen prefix.
    """

    def __init__(
        self,
        splits: Splits,
        class_names: list[str],
        train_transform: TrainTransform,
        eval_transform: EvalTransform,
        *,
        batch_size: int,
        seed: int,
        workers: int = 0,
        crop: str = "none",
        margin: float = 0.0,
        protocol: str = "fractions",
        packs: Mapping[Stored, Pack] | None = None,
    ) -> None:
        super().__init__()
        if not 1 <= batch_size <= len(splits["train"]):
            raise ConfigError(
                f"data.batch_size={batch_size}: expected 1 to {len(splits['train'])}, the "
                "number of training pictures"
            )
        self.splits, self.class_names, self.protocol = splits, class_names, protocol
        self.train_transform, self.eval_transform = train_transform, eval_transform
        self.batch_size, self.seed, self.workers = batch_size, seed, workers
        self.read: dict[str, Any] = {"crop": crop, "margin": margin}
        self.packs = packs or {}
        self.features: dict[str, Sequence[torch.Tensor] | torch.Tensor] = {}

    def dataset(self, split: str, *, training: bool = False) -> Dataset[Item]:
        samples = self.splits[split]
        if split in self.features:
            return FeatureDataset(self.features[split], [s.target for s in samples])
        transform = self.train_transform if training else self.eval_transform
        return self.pictures(samples, transform)

    def pictures(
        self, samples: Sequence[Sample], transform: TrainTransform | EvalTransform
    ) -> PictureDataset:
        """Any samples through a transform, packed where there is a pack for it."""
        pack = self.packs.get(transform.stored)
        return PictureDataset(samples, transform, **self.read, pack=pack)

    def train_dataloader(self) -> DataLoader[Item]:
        return self._loader(self.dataset("train", training=True), training=True)

    def val_dataloader(self) -> DataLoader[Item]:
        return self._loader(self.dataset("val"), training=False)

    def eval_loader(self, split: str) -> DataLoader[Item]:
        """All pictures of a split in the samples' order, on every rank the same."""
        return self._loader(self.dataset(split), training=False, share=(0, 1))

    def loader_of(self, samples: Sequence[Sample]) -> DataLoader[Item]:
        """Any samples in their order, through the evaluation transform."""
        dataset = self.pictures(samples, self.eval_transform)
        return self._loader(dataset, training=False, share=(0, 1))

    def steps_per_epoch(self, world: int = 1) -> int:
        """Optimizer steps of one epoch; a last, smaller batch counts unless it is one picture."""
        size = -(-len(self.splits["train"]) // world)
        return len(_batches(size, self.batch_size, training=True))

    def _loader(
        self, dataset: Any, *, training: bool, share: tuple[int, int] | None = None
    ) -> DataLoader[Item]:
        rank, world = share or self._share()
        sampler = EpochSampler(
            len(dataset), seed=self.seed, shuffle=training, rank=rank, world=world
        )
        if training and self.trainer:
            # after a resume, workers begin to load before Lightning calls set_epoch, and
            # current_epoch still counts the epoch at whose end the checkpoint was written
            progress: Any = self.trainer.fit_loop.epoch_progress.current
            sampler.set_epoch(progress.processed)
        drop = _batches(len(sampler), self.batch_size, training=training).drop_last
        cached = isinstance(dataset, FeatureDataset)
        return DataLoader(
            dataset,
            batch_sampler=_EpochBatches(sampler, self.batch_size, drop),
            collate_fn=_as_it_is if isinstance(dataset, PictureDataset) else None,
            num_workers=0 if cached else self.workers,
            pin_memory=torch.cuda.is_available(),
            # persistent workers would be harmless here, but hold their memory between epochs
        )

    def _share(self) -> tuple[int, int]:
        """(rank, ranks) of this process."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)


def _as_it_is(batch: Item) -> Item:
    return batch


class _EpochBatches(BatchSampler):
    """A BatchSampler that hands `set_epoch` on, however Lightning looks for it."""

    def __init__(self, sampler: EpochSampler, batch_size: int, drop_last: bool) -> None:
        super().__init__(sampler, batch_size, drop_last)  # type: ignore[arg-type]

    def set_epoch(self, epoch: int) -> None:
        self.sampler.set_epoch(epoch)  # type: ignore[attr-defined]


def _batches(size: int, batch_size: int, *, training: bool) -> BatchSampler:
    # BatchNorm cannot train on a batch of one picture, so such a remainder is dropped
    drop = training and size % batch_size == 1 and size > 1
    return BatchSampler(range(size), batch_size, drop)
