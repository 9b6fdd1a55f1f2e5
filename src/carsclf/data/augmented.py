"""Pictures before and after their augmentation."""

from collections.abc import Mapping

import numpy as np

from carsclf.data.augment import draws
from carsclf.data.transforms import TrainTransform

Pair = tuple[np.ndarray, np.ndarray]
ATTEMPTS = 50  # before a picture is taken to stay as it is


def before_and_after(transform: TrainTransform, stored: np.ndarray, seed: int) -> Pair:
    """A picture without its augmentation, and the first of its versions that is another one.

    stored: as a pack keeps it. What else is drawn (a crop) is the same for both.
    """
    plain, numbers = transform.plain, draws(range(seed, seed + ATTEMPTS))
    pairs = ((plain.finish(stored, n), transform.finish(stored, n)) for n in numbers)
    same = plain.finish(stored, numbers[0])
    return next((pair for pair in pairs if not np.array_equal(*pair)), (same, same))


def sheet(pairs: Mapping[str, Pair]) -> tuple[list[np.ndarray], list[str]]:
    """Pictures and labels of a contact sheet: each original with its changed version behind it."""
    pictures = [picture for pair in pairs.values() for picture in pair]
    labels = [label for name in pairs for label in (name, "augmented")]
    return pictures, labels
