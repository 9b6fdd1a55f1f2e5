"""The DataModule: datasets and loaders whose order and randomness depend on (seed, epoch, photo).

Nothing here keeps a random state: a resumed epoch, another number of workers or another rank count
sees exactly the pictures that an undisturbed run would have seen.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset

from carsclf.data.augment import draws
from carsclf.data.decided import Decided
from carsclf.data.exclude import Exclusion
from carsclf.data.images import read_picture
from carsclf.data.loaders import Item, SplitLoaders
from carsclf.data.packed import Pack
from carsclf.data.sampler import EpochBatches, EpochSampler
from carsclf.data.samples import Sample
from carsclf.data.splits import Splits
from carsclf.data.transforms import EvalTransform, Stored, TrainTransform
from carsclf.data.views import Views
from carsclf.data.wholes import Wholes
from carsclf.data.withhold import Withheld

if TYPE_CHECKING:
    import pandas as pd

Transform = TrainTransform | EvalTransform | Views


class PictureDataset(Dataset[Item]):
    """Transformed photos; indexed by (position, seed of its random changes).

    Those that `pack` holds are taken from there, the others decoded: the pixels are the same. In
    training, a sample that is no copy of itself (`Sample.copy`) is not augmented.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        transform: Transform,
        *,
        crop: str = "none",
        margin: float = 0.0,
        pack: Pack | None = None,
    ) -> None:
        self.samples = samples
        self.transform, self.pack = transform, pack
        self.plain = transform.plain if isinstance(transform, TrainTransform) else transform
        self.crop, self.margin = crop, margin

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: tuple[int, int]) -> Item:
        return {name: value[0] for name, value in self.__getitems__([key]).items()}

    def __getitems__(self, keys: Sequence[tuple[int, int]]) -> Item:
        """A batch at once: pictures (n[, views], 3, size, size) uint8, channels last in memory."""
        samples = [self.samples[index] for index, _ in keys]
        pictures = np.empty((len(keys), *self.transform.shape), np.uint8)
        numbers = draws([seed for _, seed in keys])
        for i, (sample, own) in enumerate(zip(samples, numbers, strict=True)):
            transform = self.plain if sample.copy is False else self.transform
            pictures[i] = transform.finish(self.stored(sample), own)
        targets = torch.tensor([sample.target for sample in samples])
        return {"pictures": torch.from_numpy(pictures).movedim(-1, -3), "targets": targets}

    def stored(self, sample: Sample) -> np.ndarray:
        """(height, width, 3), as a pack keeps it."""
        if self.pack is not None and sample in self.pack:
            return self.pack[sample]
        picture = read_picture(sample, crop=self.crop, margin=self.margin)
        return self.transform.stored.array(picture)


class CarsDataModule(SplitLoaders):
    """Pictures (uint8) of one source's splits; features of them are another data module's."""

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
        sampling: str = "natural",
        extra: Mapping[str, Sequence[Sample]] | None = None,
        exclusion: Exclusion | None = None,
        decided: Decided | None = None,
        withheld: Withheld | None = None,
        wholes: Wholes | None = None,
        below: Mapping[str, int] | None = None,
    ) -> None:
        given: dict[str, Any] = {"batch_size": batch_size, "seed": seed, "sampling": sampling}
        super().__init__(splits, class_names, **given, extra=extra, wholes=wholes)
        self.protocol, self.workers = protocol, workers
        self.train_transform, self.eval_transform = train_transform, eval_transform
        self.read: dict[str, Any] = {"crop": crop, "margin": margin}
        self.packs = packs or {}
        self.noted = noted  # of the source
        self.exclusion = exclusion  # what data.exclude left out
        self.decided = decided  # what data.decisions changed
        self.withheld = withheld  # photos of reference sets
        self.below = below or {}  # classes that lack pictures to be trained, and how many

    def pictures(self, samples: Sequence[Sample], transform: Transform) -> PictureDataset:
        """Any samples through a transform, packed where there is a pack for it."""
        pack = self.packs.get(transform.stored)
        return PictureDataset(samples, transform, **self.read, pack=pack)

    def loader(self, split: str, sampler: EpochSampler) -> DataLoader[Item]:
        training = sampler.shuffle
        transform = self.train_transform if training else self.eval_transform
        samples = self.to_train if training else self.splits[split]
        return self.batches(self.pictures(samples, transform), sampler)

    def loader_of(
        self,
        samples: Sequence[Sample],
        *,
        batch_size: int | None = None,
        transform: Transform | None = None,
    ) -> DataLoader[Item]:
        """Any samples in their order, through the evaluation transform or another."""
        sampler = EpochSampler(len(samples), seed=self.seed, shuffle=False)
        pictures = self.pictures(samples, transform or self.eval_transform)
        return self.batches(pictures, sampler, batch_size)

    def views_of(self, samples: Sequence[Sample], seeds: Sequence[int]) -> DataLoader[Item]:
        """Samples in their order, through the training transform at the seeds given."""
        dataset = self.pictures(samples, self.train_transform)
        return self._load(dataset, BatchSampler(list(enumerate(seeds)), self.batch_size, False))  # type: ignore[arg-type]

    def batches(
        self, dataset: PictureDataset, sampler: EpochSampler, batch_size: int | None = None
    ) -> DataLoader[Item]:
        """Any pictures in the sampler's order."""
        return self._load(dataset, EpochBatches(sampler, batch_size or self.batch_size))

    def _load(self, dataset: PictureDataset, batches: BatchSampler) -> DataLoader[Item]:
        return DataLoader(
            dataset,
            batch_sampler=batches,
            collate_fn=_as_it_is,
            num_workers=self.workers,
            pin_memory=torch.cuda.is_available(),
            # persistent workers would be harmless here, but hold their memory between epochs
        )


def _as_it_is(batch: Any) -> Any:
    return batch
