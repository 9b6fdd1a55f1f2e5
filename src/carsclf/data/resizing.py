"""Progressive resizing: a training that begins on small pictures and ends on large ones.

Howard 2018 (fastai's DAWNBench entry), Tan and Le 2021 (EfficientNetV2). Pictures are kept once, at
the largest size; a smaller one is shrunk from those, antialiased, and augmented at its own size, so
that loading costs less with it too.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, groupby, pairwise
from typing import Any

import numpy as np
import torch

from carsclf.data.augment import Augmentation, Draws
from carsclf.data.datamodule import CarsDataModule
from carsclf.data.loaders import SplitLoaders
from carsclf.data.sampler import EpochSampler
from carsclf.data.transforms import Stored, TrainTransform, build_transforms
from carsclf.errors import ConfigError

TINY = 1e-9  # shares that add up to a whole number of epochs do so but for this


@dataclass(frozen=True)
class Phase:
    """What the training pictures of an epoch are: pixels of a side, and pictures of a batch."""

    size: int
    batch_size: int


def none(size: int, batch_size: int, horizon: int) -> list[Phase]:
    """Pictures of one size."""
    return []


def progressive(
    size: int,
    batch_size: int,
    horizon: int,
    *,
    sizes: Sequence[int],
    epochs: Sequence[float],
    batch: str,
) -> list[Phase]:
    """The phase of each epoch: `epochs` at each of `sizes`, the rest of `horizon` at `size`.

    epochs: numbers of epochs, or shares of the horizon below 1; of several shares the ends are
    rounded down. batch: `constant`, or `pixels`, with as many pixels in a batch at each size.
    """
    if len(epochs) != len(sizes):
        raise ConfigError(
            f"resizing.sizes has {len(sizes)} sizes and resizing.epochs {len(epochs)} numbers: "
            "expected as many"
        )
    if any(one >= two for one, two in pairwise([*sizes, size])):
        raise ConfigError(
            f"resizing.sizes={[*sizes]}: expected sizes that grow and stay below "
            f"data.image_size={size}"
        )
    spent = accumulate(n * horizon if n < 1 else n for n in epochs)
    ends = [math.floor(end + TINY) for end in spent]
    if ends[-1] >= horizon:
        raise ConfigError(
            f"resizing.epochs={[*epochs]} of trainer.max_epochs={horizon} leave none for "
            f"data.image_size={size}: expected fewer, or shares that add up to less than 1"
        )
    phases = [Phase(s, _batch(batch, batch_size, s, size)) for s in sizes]
    lengths = [end - begin for begin, end in pairwise([0, *ends])]
    growing = [phase for phase, n in zip(phases, lengths, strict=True) for _ in range(n)]
    return growing + [Phase(size, batch_size)] * (horizon - len(growing))


def told(phases: Sequence[Phase]) -> str:
    """How many epochs at which size: `resizing: 1 epoch at 64 px, 5 epochs at 128 px`."""
    lengths = [(size, len([*of])) for size, of in groupby(phases, key=lambda phase: phase.size)]
    words = [f"{n} epoch{'s' * (n > 1)} at {size} px" for size, n in lengths]
    return f"resizing: {', '.join(words)}"


def _batch(batch: str, pictures: int, size: int, largest: int) -> int:
    return pictures if batch == "constant" else int(pictures * (largest / size) ** 2)


class GrowingPictures(SplitLoaders):
    """The pictures of another data module, in training of the size of their epoch's phase.

    Its loader of training pictures has to be asked for anew in each epoch. All others are those of
    the other data module, at its size.
    """

    def __init__(
        self,
        pictures: CarsDataModule,
        phases: Sequence[Phase],
        transforms: Mapping[int, TrainTransform],
    ) -> None:
        told: dict[str, Any] = {"seed": pictures.seed, "sampling": pictures.sampling}
        told["extra"] = pictures.extra
        super().__init__(
            pictures.splits, pictures.class_names, batch_size=pictures.batch_size, **told
        )
        self.pictures, self.phases, self.transforms = pictures, phases, transforms

    def loader(self, split: str, sampler: EpochSampler) -> Any:
        if not sampler.shuffle:
            return self.pictures.loader(split, sampler)
        phase = self.phases[min(sampler.epoch, len(self.phases) - 1)]
        dataset = self.pictures.pictures(self.to_train, self.transforms[phase.size])
        return self.pictures.batches(dataset, sampler, phase.batch_size)


def growing(
    pictures: CarsDataModule,
    phases: Sequence[Phase],
    *,
    transform: str,
    interpolation: str,
    augmentation: Augmentation,
) -> GrowingPictures:
    """The training pictures in those phases, each size through the same transform."""
    full, made = pictures.train_transform, {}
    for size in {phase.size for phase in phases} - {full.size}:
        small, _ = build_transforms(transform, size, interpolation, augmentation)
        shrink = partial(shrunk, stored=small.stored)
        made[size] = TrainTransform(full.stored, size, (shrink, *small.steps))
    return GrowingPictures(pictures, phases, {full.size: full} | made)


def shrunk(picture: np.ndarray, draws: Draws, *, stored: Stored) -> np.ndarray:
    """(height, width, 3) as kept for the largest size to what would be kept for a smaller one."""
    return stored.array(torch.from_numpy(picture).permute(2, 0, 1))
