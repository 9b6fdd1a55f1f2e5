"""How long trainings will take, and which fit: arithmetic on measured rates, in seconds."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

SIZES = (96, 128, 160, 192, 224, 256, 288)
"""Pixels of a side that a fine-tuning may have; a network of one size has that."""
ENOUGH = 5
"""Epochs for which a fine-tuning would rather be small than short (experiments/advise)."""
PLENTY = 12
"""Epochs for which not all of a network would rather be trained."""
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

    def predicting(self, counts: Counts) -> float:
        """Seconds until all pictures of training and validation passed, at `size`."""
        return (counts.train + counts.val) / self.predict

    def judging(self, counts: Counts, size: int) -> float:
        """Seconds to export a model and to judge it once, pictures read besides: at most."""
        pixels = (size / self.size) ** 2
        return (counts.val + counts.judge) / self.predict * pixels


@dataclass(frozen=True)
class Pace:
    """As a short training had it: seconds of an epoch, and of all that was no epoch."""

    epoch: float
    beside: float

    def training(self, epochs: int) -> float:
        return self.beside + self.epoch * epochs

    def fits(self, seconds: float, most: int) -> int:
        """The most epochs, up to `most`, that so many seconds hold."""
        return next((e for e in range(most, 0, -1) if self.training(e) <= seconds), 0)


def most_epochs(images: int) -> int:
    """Epochs beyond which a training on so many pictures gains little."""
    return max(MOST, min(LONGEST, SEEN // max(1, images)))


def shorter(epochs: int, images: int) -> int:
    """Of a training of so many epochs, the shorter of two short ones that foretell it."""
    enough = max(round(epochs / 15), math.ceil(TRIED / max(1, images)))
    return max(1, min(enough, epochs // 3))


def split_epochs(total: int, images: int) -> tuple[int, int]:
    """Of the epochs that fit: those of the shortest trainings tried, and what all tries leave.

    Those are a short one at each of two rates, and one twice as long: a fifth of all or a little
    more. (0, 0) where too few fit.
    """
    enough = max(total // 18, math.ceil(TRIED / max(1, images)))
    short = max(1, min(enough, total // 7))
    left = min(most_epochs(images), total - 4 * short)
    return (short, left) if left >= LEAST else (0, 0)


def best_size(
    rates: Rates,
    counts: Counts,
    seconds: float,
    sizes: Sequence[int],
    before: Callable[[int], float] = lambda size: 0.0,
    enough: int = ENOUGH,
) -> tuple[int, int]:
    """The largest of the sizes at which enough epochs fit, else the one that holds most; epochs.

    before: seconds that pass at a size before its first epoch.
    """
    epochs = {s: int(max(0.0, seconds - before(s)) / rates.epoch(counts, s)) for s in sizes}
    held = {size: split_epochs(fit, counts.train)[1] for size, fit in epochs.items()}
    holding = [s for s in sizes if held[s] >= enough]
    size = max(holding) if holding else max(sizes, key=lambda s: (held[s], -s))
    return size, held[size]
