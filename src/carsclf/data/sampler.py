"""The order of one epoch, drawn from (seed, epoch) alone."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import BatchSampler, Sampler


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

    def drawn(self) -> tuple[np.ndarray, np.ndarray]:
        """This epoch's positions, and the seed of each."""
        rng = np.random.default_rng((self.seed, self.epoch))
        order = rng.permutation(self.size) if self.shuffle else np.arange(self.size)
        seeds = rng.integers(2**63, size=self.size)
        own = order[self.rank :: self.world]
        return own, seeds[own]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        for position, seed in zip(*self.drawn(), strict=True):
            yield int(position), int(seed)


class EpochBatches(BatchSampler):
    """A BatchSampler that hands `set_epoch` on, however Lightning looks for it."""

    def __init__(self, sampler: EpochSampler, batch_size: int, drop_last: bool) -> None:
        super().__init__(sampler, batch_size, drop_last)  # type: ignore[arg-type]
        self.sampler: EpochSampler = sampler  # type: ignore[assignment]

    def set_epoch(self, epoch: int) -> None:
        self.sampler.set_epoch(epoch)


def mini_batches(size: int, batch_size: int, *, training: bool) -> BatchSampler:
    """How many, and whether a last, smaller one is dropped."""
    # BatchNorm cannot train on a batch of one picture, so such a remainder is dropped
    drop = training and size % batch_size == 1 and size > 1
    return BatchSampler(range(size), batch_size, drop)
