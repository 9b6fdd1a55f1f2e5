"""The order of one epoch, drawn from (seed, epoch) alone."""

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import BatchSampler, Sampler


class EpochSampler(Sampler[tuple[int, int]]):
    """(position, seed) pairs of one epoch; shuffled by (seed, epoch), shared out by rank.

    Shuffled, that is in training, all ranks get equally many: a rank with a batch more would wait
    for the others for ever. Lightning calls `set_epoch` before each epoch, after a resume too.
    targets: of the pictures, where each class is to come equally often; see `balanced`.
    """

    def __init__(
        self,
        size: int,
        *,
        seed: int,
        shuffle: bool,
        rank: int = 0,
        world: int = 1,
        targets: Sequence[int] | None = None,
    ) -> None:
        self.targets = None if targets is None else np.asarray(targets)
        self.size, self.seed, self.shuffle = size, seed, shuffle
        self.rank, self.world = rank, world
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        own = -(-(self.size - self.rank) // self.world)
        return self.size // self.world if self.shuffle else own

    def drawn(self) -> tuple[np.ndarray, np.ndarray]:
        """This epoch's positions, and the seed of each."""
        rng = np.random.default_rng((self.seed, self.epoch))
        if self.targets is not None:
            mine = slice(self.rank, len(self) * self.world, self.world)
            order = balanced(self.targets, rng)
            # a seed for each time that a picture comes
            return order[mine], rng.integers(2**63, size=self.size)[mine]
        order = rng.permutation(self.size) if self.shuffle else np.arange(self.size)
        seeds = rng.integers(2**63, size=self.size)
        own = order[self.rank :: self.world][: len(self)]
        return own, seeds[own]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        for position, seed in zip(*self.drawn(), strict=True):
            yield int(position), int(seed)

    def batches(self, batch_size: int) -> list[int]:
        """Sizes of the batches it is cut into: as many in every rank.

        In training a last batch of one picture is left out, as BatchNorm cannot train on it.
        Elsewhere every picture counts, so a rank with one picture less may have smaller batches.
        """
        size = len(self)
        if self.shuffle and size % batch_size == 1 and size > 1:
            size -= 1
        longest = size if self.shuffle else -(-self.size // self.world)
        count = -(-longest // batch_size)
        full = [min(batch_size, size - start) for start in range(0, size, batch_size)]
        if len(full) == count:
            return full
        return [len(part) for part in np.array_split(np.arange(size), count)]


def balanced(targets: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As many positions as there are, in random order, of each class equally many.

    What is left over goes to random classes. Within a class none comes once more than another
    before all have come: of a large class some wait for another epoch.
    """
    classes = np.unique(targets)
    shares = np.full(len(classes), len(targets) // len(classes))
    shares[rng.permutation(len(classes))[: len(targets) % len(classes)]] += 1
    chosen = []
    for label, share in zip(classes, shares, strict=True):
        own = np.flatnonzero(targets == label)
        again, rest = divmod(share, len(own))
        chosen += [np.tile(own, again), rng.permutation(own)[:rest]]
    return rng.permutation(np.concatenate(chosen))


class EpochBatches(BatchSampler):
    """Batches of (position, seed) pairs; hands `set_epoch` on, however Lightning looks for it."""

    def __init__(self, sampler: EpochSampler, batch_size: int) -> None:
        super().__init__(sampler, batch_size, drop_last=False)  # type: ignore[arg-type]
        self.sampler: EpochSampler = sampler  # type: ignore[assignment]

    def set_epoch(self, epoch: int) -> None:
        self.sampler.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.sampler.batches(self.batch_size))

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:  # type: ignore[override]
        drawn = iter(self.sampler)
        for size in self.sampler.batches(self.batch_size):
            yield [next(drawn) for _ in range(size)]
