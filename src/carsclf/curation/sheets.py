"""A contact sheet for each kind of finding that is about photos."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from carsclf.curation.findings import KINDS
from carsclf.data.decoding import decode
from carsclf.errors import DataError
from carsclf.figures.contact_sheet import contact_sheet

SIZE = (200, 140)


def draw_sheets(table: pd.DataFrame, paths: Mapping[str, Path], folder: Path, most: int) -> None:
    """Writes <kind>.png of the first `most` findings of each kind; of pairs, one beside the other.

    paths: of all photos by their ids. Sheets of kinds that nothing is found of are removed.
    """
    for kind in KINDS:
        place = folder / f"{kind}.png"
        place.unlink(missing_ok=True)
        pictures, labels = [], []
        own: Any = table[table["kind"] == kind]
        for row in own.head(most).to_dict("records"):
            for id, words in _shown(row):
                if id in paths and (picture := _small(paths[id])) is not None:
                    pictures.append(picture)
                    labels.append(words)
        if pictures:
            contact_sheet(pictures, labels, place)


def _shown(row: Mapping[str, object]) -> list[tuple[str, str]]:
    """Ids of the photos of a finding, and what stands below each."""
    shown = [(str(row["id"]), f"{row['class']}: {row['reason']}")]
    if isinstance(row["other"], str):
        shown.append((row["other"], f"{row['other_class']} ({row['other_split']})"))
    return shown


def _small(path: Path) -> np.ndarray | None:
    try:
        picture = decode(path, at_least=max(SIZE))
    except (DataError, OSError, MemoryError):
        return None
    picture.thumbnail(SIZE)
    sheet = Image.new("RGB", SIZE, "white")
    sheet.paste(picture, ((SIZE[0] - picture.width) // 2, (SIZE[1] - picture.height) // 2))
    return np.asarray(sheet)
