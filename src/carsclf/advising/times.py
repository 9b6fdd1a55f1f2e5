"""How long trainings will take, and which fit: arithmetic on measured rates, in seconds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

SIZES = (96, 128, 160, 224)
"""Pixels of a side that a fine-tuning may have; a network of one size has that."""
ENOUGH = 12
"""Epochs for which a fine-tuning would rather be small than short."""
MOST, LEAST = 30, 3
"""Epochs beyond which a training gains little, and below which it is not begun."""
SEEN, LONGEST = 30_000, 200
"""Pictures that a training of MOST epochs sees at least: of few pictures it has more epochs, but no
more than LONGEST."""
TRIED = 1000
"""Pictures that a short training sees at least, where there is time: fewer are but a few steps."""
SPARE = 0.04
"""Share of the time left that no plan uses: rates are measured for seconds, and used for hours."""
PAGE = 10.0
"""Seconds that the page takes, and all that ends an advice."""


@dataclass(frozen=True)
class Counts:
    """Pictures of each split; test is 0 where there is none."""

    train: int
    val: int
    test: int

    @property
    def judge(self) -> int:
        """Pictures that judge the winner: those of test, else of validation again."""
        return self.test or self.val


@dataclass(frozen=True)
class Rates:
    """Of a network at `size`: pictures a second, trained and predicted."""

    size: int
    train: float
    predict: float

    def epoch(self, counts: Counts, size: int) -> float:
        """Seconds of an epoch at that size, its validation included: they go with the pixels."""
        pixels = (size / self.size) ** 2
        return (counts.train / self.train + counts.val / self.predict) * pixels

    def judging(self, counts: Counts, size: int) -> float:
        """Seconds to export a training, and to judge it and the probe's head once."""
        pixels = (size / self.size) ** 2
        return (2 * counts.val + 3 * counts.judge) / self.predict * pixels


@dataclass(frozen=True)
class Pace:
    """As a short training had it: seconds of an epoch, and of all that was no epoch."""

    epoch: float
    beside: float

    def training(self, epochs: int, growing: Sequence[int] = (), size: int = 1) -> float:
        """Seconds of a training; growing: the sizes before `size` (see `grown`)."""
        return self.beside + self.epoch * grown(epochs, growing, size)

    def fits(self, seconds: float, most: int, growing: Sequence[int] = (), size: int = 1) -> int:
        """The most epochs, up to `most`, that so many seconds hold."""
        lengths = range(most, 0, -1)
        return next((e for e in lengths if self.training(e, growing, size) <= seconds), 0)


def grown(epochs: int, growing: Sequence[int], size: int) -> float:
    """What a training of growing pictures costs, in epochs of the last size.

    A quarter at each of the smaller sizes (ends rounded down, as `resizing=progressive` does). A
    tenth of an epoch stays as it is, as validation has the last size.
    """
    ends = [math.floor(epochs * 0.25 * (i + 1)) for i in range(len(growing))]
    whole, before = float(epochs), 0
    for small, end in zip(growing, ends, strict=True):
        whole -= (end - before) * 0.9 * (1 - (small / size) ** 2)
        before = end
    return whole


def smaller(size: int) -> list[int]:
    """The sizes that a training of growing pictures begins with; none where it would not pay."""
    below = [s for s in SIZES if s < size]
    return below[-2:] if len(below) >= 2 else []


def most_epochs(images: int) -> int:
    """Epochs beyond which a training on so many pictures gains little."""
    return max(MOST, min(LONGEST, SEEN // max(1, images)))


def shorter(epochs: int, images: int) -> int:
    """Of a training of so many epochs, the shorter of two short ones that foretell it."""
    enough = max(round(epochs / 15), math.ceil(TRIED / max(1, images)))
    return max(1, min(enough, epochs // 3))


def split_epochs(total: int, images: int) -> tuple[int, int]:
    """Of the epochs that fit: the shorter of two short trainings, and what they leave.

    The other one is twice as long, so that both are about a sixth of all. (0, 0) where too few fit.
    """
    enough = max(total // 18, math.ceil(TRIED / max(1, images)))
    short = max(1, min(enough, total // 6))
    left = min(most_epochs(images), total - 3 * short)
    return (short, left) if left >= LEAST else (0, 0)


def best_size(
    rates: Rates, counts: Counts, seconds: float, sizes: Sequence[int]
) -> tuple[int, int]:
    """The largest of the sizes at which ENOUGH epochs fit, else the one that holds most; epochs."""
    held = {s: split_epochs(int(seconds / rates.epoch(counts, s)), counts.train)[1] for s in sizes}
    enough = [s for s in sizes if held[s] >= ENOUGH]
    size = max(enough) if enough else max(sizes, key=lambda s: (held[s], -s))
    return size, held[size]
