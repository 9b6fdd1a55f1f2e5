"""The published follow-up's way to divide photos, with its error and without."""

import math
from collections.abc import Sequence
from dataclasses import replace

from carsclf.data.samples import Sample

FOLLOW_UP = "follow_up"  # data.protocol
NO_LEAK, LEAK = "none", "published"  # data.leak


def divide(
    label: Sequence[Sample], *, copies: bool, leak: str = NO_LEAK
) -> tuple[list[Sample], list[Sample]]:
    """Training and validation pictures of one class, whose photos are given in any order.

    The follow-up made one changed copy of each photo, put the originals first, by name, then the
    copies, and took the first 20 % of them all for validation: 40 % of the originals, whose copies
    stayed in training. leak: `published` does just that; `none` takes the same validation photos
    and leaves their copies out. copies: False where nothing changes a picture, so that there are
    none. What is in training says in `Sample.copy` whether it is one; validation has originals.
    """
    photos = sorted(label, key=lambda sample: sample.id)
    held_out = math.floor(0.2 * 2 * len(photos) + 1e-9)  # floor, as the other protocols'
    copied = photos if leak == LEAK else photos[held_out:]
    train = [replace(photo, copy=False) for photo in photos[held_out:]]
    train += [replace(photo, copy=True) for photo in copied] if copies else []
    return train, photos[:held_out]
