"""The worst errors as published: the photo, and a photo of the class it was taken for."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from carsclf.analysis.metrics import worst
from carsclf.data.decoding import decode
from carsclf.errors import DataError
from carsclf.records import Predictions
from carsclf.report.page import Desk

WIDTH = 320
"""Pixels of a photo on the page."""


def photo_path(predictions: Predictions, index: int, root: str | None) -> Path:
    """Where a photo lies, or lies now."""
    if root is not None:
        return Path(root) / predictions.ids[index]
    return Path(predictions.paths[index])


def data_root(predictions: Predictions, root: str | None) -> Path | None:
    """The folder that ids are relative to; None where paths do not end in ids."""
    if root is not None:
        return Path(root)
    if not predictions.paths or not predictions.paths[0].endswith(predictions.ids[0]):
        return None
    return Path(predictions.paths[0][: -len(predictions.ids[0])])


def thumbnail(path: Path) -> bytes | None:
    """The photo as a small JPEG; None where it is missing or unreadable."""
    try:
        small = decode(path, at_least=WIDTH)
    except (OSError, DataError, MemoryError):
        return None
    small.thumbnail((WIDTH, WIDTH))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def make_gallery(
    desk: Desk,
    predictions: Predictions,
    most: int,
    root: str | None,
    overlays: Mapping[int, bytes] | None = None,
) -> tuple[list[dict[str, Any]], int]:
    """Items for the page, most confident error first, and how many photos are missing."""
    items, missing = [], 0
    for rank, index in enumerate(worst(predictions.targets, predictions.probabilities, most)):
        given, said = int(predictions.targets[index]), int(predictions.predicted[index])
        like = example_of(predictions, said)
        pictures = {"photo": _shown(desk, f"{rank:02}_photo", predictions, int(index), root)}
        if like is not None:
            pictures["example"] = _shown(desk, f"{rank:02}_predicted", predictions, like, root)
        missing += sum(uri is None for uri in pictures.values())
        overlay = (overlays or {}).get(int(index))
        items.append(
            {
                "id": predictions.ids[index],
                "photo": pictures["photo"],
                "example": pictures.get("example"),
                "has_example": like is not None,
                "attention": desk.photo(f"{rank:02}_attention", overlay) if overlay else None,
                "given": predictions.class_names[given],
                "said": predictions.class_names[said],
                "given_probability": float(predictions.probabilities[index, given]),
                "said_probability": float(predictions.probabilities[index, said]),
            }
        )
    return items, missing


def example_of(predictions: Predictions, target: int) -> int | None:
    """The photo of a class that the model is surest of; None where the split has none."""
    own: Sequence[int] = np.flatnonzero(predictions.targets == target).tolist()
    if not own:
        return None
    return own[int(np.argmax(predictions.probabilities[own, target]))]


def _shown(
    desk: Desk, name: str, predictions: Predictions, index: int, root: str | None
) -> str | None:
    content = thumbnail(photo_path(predictions, index, root))
    return None if content is None else desk.photo(name, content)
