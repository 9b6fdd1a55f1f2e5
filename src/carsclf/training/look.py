"""A first look at the data before training, cheap enough to be the default."""

from pathlib import Path

import pandas as pd

from carsclf.data.build import class_counts
from carsclf.data.datamodule import CarsDataModule
from carsclf.data.splits import shuffled
from carsclf.figures.contact_sheet import contact_sheet
from carsclf.files import atomic_write

PICTURES = 24
LOOK_ONLY = "only"  # look=only: nothing is trained


def look_at_data(data: CarsDataModule, folder: Path) -> None:
    """Writes `look/training_pictures.png`, as the network sees them, and `class_counts.csv`."""
    chosen = shuffled(data.to_train, data.seed, "look")[:PICTURES]
    dataset = data.pictures(chosen, data.train_transform)
    pictures = [dataset[i, i]["pictures"].permute(1, 2, 0).numpy() for i in range(len(chosen))]
    labels = [data.class_names[sample.target] for sample in chosen]
    contact_sheet(pictures, labels, folder / "look" / "training_pictures.png")
    with atomic_write(folder / "look" / "class_counts.csv") as temporary:
        pd.DataFrame(class_counts(data)).to_csv(temporary, index=False)
