"""The DataModule: datasets and loaders whose order and randomness depend on (seed, epoch, photo).

Nothing here keeps a random state: a resumed epoch, another number of workers or another rank count
sees exactly the pictures that an undisturbed run would have seen.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset

from carsclf.data.augment import draws
from carsclf.data.features import FeatureDataset, FeatureLoader, Features, Item
from carsclf.data.images import read_picture
from carsclf.data.packed import Pack
from carsclf.data.sampler import EpochBatches, EpochSampler, mini_batches
from carsclf.data.samples import Sample
from carsclf.data.splits import Splits
from carsclf.data.transforms import EvalTransform, Stored, TrainTransform
from carsclf.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

CHUNK_BYTES = 64 << 20  # of features that one training step gets
EVAL_BYTES = 16 << 20  # of features that pass at once, where activations need memory too


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
        pictures = np.empty((len(keys), size, size, 3), np.uint8)
        numbers = draws([seed for _, seed in keys])
        for i, (sample, own) in enumerate(zip(samples, numbers, strict=True)):
            pictures[i] = self.transform.finish(self._stored(sample), own)
        targets = torch.tensor([sample.target for sample in samples])
        return {"pictures": torch.from_numpy(pictures).permute(0, 3, 1, 2), "targets": targets}

    def _stored(self, sample: Sample) -> np.ndarray:
        """(height, width, 3), as a pack keeps it."""
        if self.pack is not None and sample in self.pack:
            return self.pack[sample]
        picture = read_picture(sample, crop=self.crop, margin=self.margin)
        return self.transform.stored.array(picture)


Loader = DataLoader[Item] | FeatureLoader


class CarsDataModule(pl.LightningDataModule):
    """Loaders over the splits of one source. A batch holds pictures (uint8) or features.

    `features`, given per split name, replaces the pictures by cached outputs of a frozen prefix;
    `views` is the number of rows for each training photo. With `chunked`, a training batch of
    features holds many mini-batches of `batch_size`.
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
        noted: "pd.DataFrame | None" = None,
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
        self.noted = noted  # of the source
        self.features: dict[str, Features] = {}
        self.views, self.chunked = 1, False

    def dataset(self, split: str, *, training: bool = False) -> Dataset[Item] | FeatureDataset:
        samples = self.splits[split]
        views = self.views if split == "train" else 1
        if split in self.features and (training or views == 1):
            return FeatureDataset(self.features[split], [s.target for s in samples], views)
        transform = self.train_transform if training else self.eval_transform
        return self.pictures(samples, transform)

    def pictures(
        self, samples: Sequence[Sample], transform: TrainTransform | EvalTransform
    ) -> PictureDataset:
        """Any samples through a transform, packed where there is a pack for it."""
        pack = self.packs.get(transform.stored)
        return PictureDataset(samples, transform, **self.read, pack=pack)

    def train_dataloader(self) -> Loader:
        return self._loader(self.dataset("train", training=True), training=True)

    def val_dataloader(self) -> Loader:
        return self._loader(self.dataset("val"), training=False)

    def eval_loader(self, split: str) -> Loader:
        """All pictures of a split in the samples' order, on every rank the same."""
        return self._loader(self.dataset(split), training=False, share=(0, 1))

    def loader_of(self, samples: Sequence[Sample]) -> Loader:
        """Any samples in their order, through the evaluation transform."""
        dataset = self.pictures(samples, self.eval_transform)
        return self._loader(dataset, training=False, share=(0, 1))

    def views_of(self, samples: Sequence[Sample], seeds: Sequence[int]) -> DataLoader[Item]:
        """Samples in their order, through the training transform at the seeds given."""
        return DataLoader(
            self.pictures(samples, self.train_transform),
            batch_sampler=BatchSampler(list(enumerate(seeds)), self.batch_size, False),  # type: ignore[arg-type]
            collate_fn=_as_it_is,
            num_workers=self.workers,
            pin_memory=torch.cuda.is_available(),
        )

    def steps_per_epoch(self, world: int = 1) -> int:
        """Optimizer steps of one epoch; a last, smaller batch counts unless it is one picture."""
        size = -(-len(self.splits["train"]) // world)
        return len(mini_batches(size, self.batch_size, training=True))

    def _loader(
        self, dataset: Any, *, training: bool, share: tuple[int, int] | None = None
    ) -> Loader:
        rank, world = share or self._share()
        sampler = EpochSampler(
            len(dataset), seed=self.seed, shuffle=training, rank=rank, world=world
        )
        if training and self.trainer:
            # after a resume, workers begin to load before Lightning calls set_epoch, and
            # current_epoch still counts the epoch at whose end the checkpoint was written
            progress: Any = self.trainer.fit_loop.epoch_progress.current
            sampler.set_epoch(progress.processed)
        drop = mini_batches(len(sampler), self.batch_size, training=training).drop_last
        if isinstance(dataset, FeatureDataset):
            rows = self._rows(dataset, training=training)
            return FeatureLoader(dataset, sampler, rows, drop=int(drop))
        return DataLoader(
            dataset,
            batch_sampler=EpochBatches(sampler, self.batch_size, drop),
            collate_fn=_as_it_is,
            num_workers=self.workers,
            pin_memory=torch.cuda.is_available(),
            # persistent workers would be harmless here, but hold their memory between epochs
        )

    def _rows(self, dataset: FeatureDataset, *, training: bool) -> int:
        """Rows of one batch of features: whole mini-batches in training."""
        if training and not self.chunked:
            return self.batch_size
        most = (CHUNK_BYTES if training else EVAL_BYTES) // dataset.row_bytes
        return max(1, most // self.batch_size) * self.batch_size

    def _share(self) -> tuple[int, int]:
        """(rank, ranks) of this process."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)


def _as_it_is(batch: Any) -> Any:
    return batch
