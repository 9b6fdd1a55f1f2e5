"""A first look at the data before training, cheap enough to be the default."""

import logging
from pathlib import Path

import pandas as pd

from carsclf.analysis.appearance import compared, in_words
from carsclf.data.augmented import before_and_after, sheet
from carsclf.data.build import class_counts
from carsclf.data.datamodule import CarsDataModule
from carsclf.data.splits import shuffled
from carsclf.figures.contact_sheet import contact_sheet
from carsclf.files import atomic_write

log = logging.getLogger(__name__)

PICTURES, PAIRS = 24, 12
LOOK_ONLY = "only"  # look=only: nothing is trained


def look_at_data(data: CarsDataModule, folder: Path) -> None:
    """Writes `look/training_pictures.png`, as the network sees them, and `class_counts.csv`.

    Where training pictures are augmented, also `augmented.png`, originals beside changed versions,
    and what that does to colour and edges as `augmented.csv`.
    """
    chosen = shuffled(data.to_train, data.seed, "look")[:PICTURES]
    dataset = data.pictures(chosen, data.train_transform)
    pictures = [dataset[i, i]["pictures"].permute(1, 2, 0).numpy() for i in range(len(chosen))]
    labels = [data.class_names[sample.target] for sample in chosen]
    contact_sheet(pictures, labels, folder / "look" / "training_pictures.png")
    with atomic_write(folder / "look" / "class_counts.csv") as temporary:
        pd.DataFrame(class_counts(data)).to_csv(temporary, index=False)
    if data.train_transform != data.train_transform.plain:
        look_at_augmentation(data, folder)


def look_at_augmentation(data: CarsDataModule, folder: Path) -> None:
    """Draws and measures some training pictures before and after their augmentation."""
    dataset = data.pictures(data.splits["train"], data.train_transform)
    photos = {sample.id: sample for sample in shuffled(dataset.samples, data.seed, "look")}
    pairs = {
        id: before_and_after(data.train_transform, dataset.stored(photos[id]), seed)
        for seed, id in enumerate(list(photos)[:PAIRS])
    }
    contact_sheet(*sheet(pairs), folder / "look" / "augmented.png")
    table = compared(pairs)
    with atomic_write(folder / "look" / "augmented.csv") as temporary:
        table.to_csv(temporary, index=False)
    log.info("augmentation, of %d pictures: %s", len(pairs), in_words(table))
