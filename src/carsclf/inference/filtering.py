"""`predict.py filter=...`: rows of a table of predictions as a list to decide on, and pictures."""

import time
from dataclasses import fields
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from omegaconf import DictConfig
from torchvision.transforms.v2.functional import resize

from carsclf.analysis.filters import FILTERS, NEEDS, OF_LIBRARY, Limits
from carsclf.data.images import read_picture
from carsclf.data.samples import Sample
from carsclf.errors import ConfigError, DataError
from carsclf.figures.contact_sheet import contact_sheet
from carsclf.files import atomic_write, table_of
from carsclf.inference.library import read_library
from carsclf.inference.parts import read_table
from carsclf.options.command_line import argument, say_next

SHOWN = ["path", "predicted", "probability", "predicted_2", "probability_2", "openness", "distance"]
TO_DECIDE = ["decision", "who", "when", "why"]
"""Left empty: the list, filled in, is what decide.py takes."""
TILE = 160  # pixels of a picture on the sheet


def filter_table(config: DictConfig, *, table: Path) -> Path:
    """Writes what the filter keeps of the table beside it, and a contact sheet; returns the CSV."""
    limits = Limits(**{field.name: config.limits[field.name] for field in fields(Limits)})
    if limits.medium[0] > limits.medium[1]:
        raise ConfigError(f"limits.medium={list(limits.medium)}: expected the lower one first")
    began = time.perf_counter()
    said = read_said(table, config.filter)
    library = pd.DataFrame({"class": [], "photos": [], "synthetic": []})
    if config.filter in OF_LIBRARY:
        library = read_library(config.run, config.library, root=config.root)
    kept = FILTERS[config.filter](said, library, limits)
    path = table.with_name(f"{table.stem}_{config.filter}.csv")
    if aside := keep_decided(path):
        print(f"{path.name} holds decisions, and is kept as {aside}")
    with atomic_write(path) as temporary:
        kept.reindex(columns=[*kept.columns, *TO_DECIDE]).to_csv(temporary, index=False)
    seconds = time.perf_counter() - began
    print(f"{config.filter}: {len(kept)} of {len(said)} pictures in {seconds:.2f} s: {path}")
    sheet = path.with_suffix(".png")
    if drawn := draw(kept.head(config.sheet), sheet):
        print(f"the first {drawn}: {sheet}")
    else:
        sheet.unlink(missing_ok=True)  # of an earlier list
    if len(kept):
        print(
            "decide on it in a browser with page=true, or fill in its columns decision (a class, "
            "quarantine or skip), who, when and why"
        )
        told = f"{argument('decisions', str(path))} photos=... library=..."
        say_next(f"python decide.py {told} page=true")
    return path


def keep_decided(path: Path) -> Path | None:
    """Moves a list aside in which somebody decided something; where to."""
    if not path.is_file():
        return None
    with path.open(newline="", encoding="utf-8-sig") as lines:
        rows = table_of(lines, str(path))
        if not any((row.get("decision") or "").strip() for row in rows):
            return None
    places = (path.with_name(f"{path.stem}-{n}{path.suffix}") for n in count(1))
    place = next(place for place in places if not place.exists())
    return path.rename(place)


def read_said(table: Path, filter: str) -> pd.DataFrame:
    """Pictures that could be read, without their embeddings. Raises where a column is missing."""
    found = read_table(table, ["error", *SHOWN])
    if "predicted" not in found.column_names:
        raise DataError(f"table={table} is no table of predict.py: it has no column predicted")
    need = NEEDS.get(filter)
    if need and need not in found.column_names:
        raise DataError(
            f"filter={filter} needs the column {need}, which {table} lacks: write the table again "
            "with openness=true"
        )
    said: Any = found.to_pandas()
    return said[said["error"].isna()].drop(columns="error")


def draw(rows: pd.DataFrame, path: Path) -> int:
    """A contact sheet of the pictures that are still there; returns how many."""
    pictures: list[np.ndarray] = []
    labels: list[str] = []
    for row in rows.to_dict("records"):
        try:
            whole = read_picture(Sample(row["path"], Path(row["path"]), -1))
        except DataError:
            continue
        pictures.append(_tile(whole))
        told = f" open {row['openness']:.2f}" if "openness" in row else ""
        labels.append(f"{row['probability']:.0%}{told} {row['predicted']}")
    if pictures:
        contact_sheet(pictures, labels, path)
    return len(pictures)


def _tile(picture: torch.Tensor) -> np.ndarray:
    """(3, height, width) as a white square that holds all of it."""
    height, width = picture.shape[1:]
    scale = TILE / max(height, width)
    shape = [max(1, round(height * scale)), max(1, round(width * scale))]
    tile = torch.full((3, TILE, TILE), 255, dtype=torch.uint8)
    top, left = ((TILE - side) // 2 for side in shape)
    tile[:, top : top + shape[0], left : left + shape[1]] = resize(picture, shape)
    return tile.permute(1, 2, 0).numpy()
