"""How many photos and synthetic pictures of each class a run's data had: `library.csv`."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import OmegaConf

from carsclf.data.listing import list_pictures
from carsclf.data.mapping import ClassMapping
from carsclf.errors import DataError, mistakes, one_line
from carsclf.files import atomic_write
from carsclf.records import RunFolder

COLUMNS = ("class", "photos", "synthetic")
RECORD = "synthetic.json"  # of a folder that data.extra names


def read_library(run: str, given: str | None, *, root: str | None) -> pd.DataFrame:
    """The table that was given, or the run's, counted where it has none yet.

    Columns: class, photos (of all splits), synthetic. Raises DataError in one line.
    """
    path = Path(given).expanduser() if given else RunFolder(run).library
    if not given and not path.is_file():
        counted = count_library(Path(run).expanduser(), root)
        with atomic_write(path) as temporary:
            counted.to_csv(temporary, index=False)
    try:
        table = pd.read_csv(path, dtype={"class": str})
    except (OSError, ValueError) as error:
        raise DataError(f"library={path} cannot be read as a CSV ({error})") from None
    missing = [name for name in COLUMNS if name not in table]
    counts = table[[name for name in COLUMNS[1:] if name in table]]
    numbers = all(kind.kind in "iu" for kind in counts.dtypes)  # type: ignore[union-attr]
    if missing or not numbers or (counts.to_numpy() < 0).any() or table["class"].duplicated().any():
        raise DataError(
            f"library={path}: expected a row per class with the columns {', '.join(COLUMNS)}, of "
            "which the last two are counts"
        )
    return table


def count_library(folder: Path, root: str | None) -> pd.DataFrame:
    """Counted anew from the run's own data. Raises DataError where that is not at hand."""
    from carsclf.data.build import class_counts
    from carsclf.inference.split import How, open_run

    try:
        run = open_run(folder, How("train", root=root, device="cpu"))
    except mistakes() as error:
        raise DataError(
            f"how many photos each class has is counted in the data of {folder} "
            f"({one_line(error)}): give root=<where it lies now>, or library=<a CSV of class, "
            "photos and synthetic>"
        ) from None
    table = pd.DataFrame(class_counts(run.data))
    whole = run.data.wholes.parts  # as what the model tells each class
    photos = Counter[str]()
    for name, number in zip(table["class"], table.drop(columns="class").sum(axis=1), strict=True):
        photos[whole[name]] += int(number)
    config = OmegaConf.load(run.files.config)
    told: Any = OmegaConf.to_container(
        OmegaConf.select(config, "data.mapping") or OmegaConf.create()
    )
    mapping, made = ClassMapping(**told), Counter[str]()
    for place in OmegaConf.select(config, "data.extra") or []:
        for name, number in count_synthetic(Path(str(place)).expanduser()).items():
            own = mapping.name(name)
            made[whole.get(own, own)] += number
    return pd.DataFrame(
        {"class": [*photos], "photos": [*photos.values()], "synthetic": [made[n] for n in photos]}
    )


def count_synthetic(folder: Path) -> Counter[str]:
    """Pictures of each class that a folder's synthetic.json lists, `<folder>/<class>/*`."""
    try:
        names = json.loads((folder / RECORD).read_text())["classes"]
        places = {str(name): folder / str(name) for name in names}
        return Counter(
            {n: len(list_pictures(place).pictures) for n, place in places.items() if place.is_dir()}
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{folder / RECORD}, which the run's data.extra names, cannot be read ({error}): put "
            "it back, or give library=<a CSV of class, photos and synthetic>"
        ) from None
