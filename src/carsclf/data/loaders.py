"""What every data module of ours is: splits of one source, a loader for each."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
import torch

from carsclf.data.sampler import EpochSampler
from carsclf.data.samples import Sample
from carsclf.data.splits import Splits
from carsclf.data.wholes import Wholes
from carsclf.errors import ConfigError

Item = dict[str, torch.Tensor]  # a batch: `targets`, and `pictures` (uint8) or `features`


class SplitLoaders(pl.LightningDataModule):
    """Loaders over splits, whose order depends on (seed, epoch) alone; a subclass fills batches.

    Under several processes each has its share: in training equally many pictures, so that the mean
    of their gradients is that of all pictures; a rest that cannot be shared out waits for another
    epoch. Raises ConfigError for a split with fewer pictures than processes. sampling: `natural`,
    or `balanced`, with each class equally often in training. extra: made pictures by their kind,
    which only training shows, after the photos of its split. wholes: as what the classes are told.
    """

    def __init__(
        self,
        splits: Splits,
        class_names: Sequence[str],
        *,
        batch_size: int,
        seed: int,
        sampling: str = "natural",
        extra: Mapping[str, Sequence[Sample]] | None = None,
        wholes: Wholes | None = None,
    ) -> None:
        super().__init__()
        self.extra = extra or {}
        self.to_train = [*splits["train"], *(s for part in self.extra.values() for s in part)]
        if not 1 <= batch_size <= len(self.to_train):
            raise ConfigError(
                f"data.batch_size={batch_size}: expected 1 to {len(self.to_train)}, the "
                "number of training pictures"
            )
        self.splits, self.class_names = splits, list(class_names)
        self.wholes = wholes or Wholes.of(class_names, {})
        self.batch_size, self.seed, self.sampling = batch_size, seed, sampling

    def loader(self, split: str, sampler: EpochSampler) -> Any:
        """Batches in the sampler's order; `sampler.shuffle` says whether they are for training.

        Then they are of `to_train`, else of the split's photos alone.
        """
        raise NotImplementedError

    def train_dataloader(self) -> Any:
        sampler = self._sampler("train", *self._share(), shuffle=True)
        if self.trainer:
            # after a resume, workers begin to load before Lightning calls set_epoch, and
            # current_epoch still counts the epoch at whose end the checkpoint was written
            progress: Any = self.trainer.fit_loop.epoch_progress.current
            sampler.set_epoch(progress.processed)
        return self.loader("train", sampler)

    def val_dataloader(self) -> Any:
        return self.loader("val", self._sampler("val", *self._share()))

    def eval_loader(self, split: str) -> Any:
        """All pictures of a split in the samples' order, in every process the same."""
        return self.loader(split, self._sampler(split))

    def batches_per_epoch(self, world: int = 1, batch_size: int | None = None) -> int:
        """Training batches of `batch_size` that each process gets."""
        sampler = self._sampler("train", 0, world, shuffle=True)
        return len(sampler.batches(batch_size or self.batch_size))

    def _sampler(
        self, split: str, rank: int = 0, world: int = 1, *, shuffle: bool = False
    ) -> EpochSampler:
        samples = self.to_train if shuffle else self.splits[split]
        size = len(samples)
        if size < world:
            raise ConfigError(
                f"trainer.devices: {world} processes for {size} pictures of {split}: use fewer"
            )
        even = shuffle and self.sampling == "balanced"
        targets = [sample.target for sample in samples] if even else None
        return EpochSampler(
            size, seed=self.seed, shuffle=shuffle, rank=rank, world=world, targets=targets
        )

    def _share(self) -> tuple[int, int]:
        """(rank, processes) of this process."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
