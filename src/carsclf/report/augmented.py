"""Photos of a report before and after the augmentation that a configuration trains with."""

import numpy as np
from hydra.utils import instantiate
from omegaconf import OmegaConf

from carsclf.data.augmented import Pair, before_and_after
from carsclf.data.images import read_picture
from carsclf.data.samples import Sample
from carsclf.data.transforms import build_transforms
from carsclf.errors import DataError
from carsclf.records import Predictions
from carsclf.report.flat import Flat
from carsclf.report.gallery import photo_path

PAIRS = 6


def augmented_pairs(config: Flat, predictions: Predictions, root: str | None) -> dict[str, Pair]:
    """By id, some of the predicted photos as the network would be trained on them.

    Empty where nothing is augmented, or none of the photos can be read.
    """
    own = {k.partition(".")[2]: v for k, v in config.items() if k.startswith("augmentation.")}
    size, rule = int(config["data.image_size"]), str(config["data.transform"])
    made = instantiate(OmegaConf.create(own))
    train, _ = build_transforms(rule, size, str(config["data.interpolation"]), made)
    pairs: dict[str, Pair] = {}
    if not made.random:
        return pairs
    for place in np.linspace(0, len(predictions.ids) - 1, PAIRS).astype(int):
        id, path = predictions.ids[place], photo_path(predictions, int(place), root)
        try:
            stored = train.stored.array(read_picture(Sample(id, path, -1)))
        except (DataError, OSError):  # moved, or gone
            continue
        pairs[id] = before_and_after(train, stored, int(place))
    return pairs
