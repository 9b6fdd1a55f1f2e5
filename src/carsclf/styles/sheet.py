"""A contact sheet of photos and what was made of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from carsclf.figures.contact_sheet import contact_sheet
from carsclf.styles.pictures import Planned, fitted

SHOWN = 6  # photos of each style


def show(
    planned: Sequence[Planned],
    out: Path,
    class_names: Sequence[str],
    size: int,
    read: Mapping[str, Any],
) -> None:
    """`styles.png`: photos, each followed by what was made of it, by style.

    Where every photo comes in every style, a row is a photo. read: how photos are cropped.
    """
    by_style: dict[str, list[Planned]] = {}
    for one in planned:
        by_style.setdefault(one.style, []).append(one)
    rows = list(zip(*(by_style[style] for style in sorted(by_style)), strict=False))[:SHOWN]
    shared = all(len({one.sample.id for one in row}) == 1 for row in rows)
    pictures, labels = [], []
    for row in rows:
        for i, one in enumerate(row):
            if i == 0 or not shared:
                photo = fitted(one.sample, size, **read).permute(1, 2, 0).numpy()
                pictures.append(framed(photo, size))
                labels.append(class_names[one.sample.target])
            with Image.open(out / one.name) as made:
                pictures.append(framed(np.asarray(made), size))
            labels.append(one.style)
    columns = len(by_style) + 1 if shared else 2 * len(by_style)
    contact_sheet(pictures, labels, out / "styles.png", columns=columns)


def framed(picture: np.ndarray, size: int) -> np.ndarray:
    """In the middle of a white square, as a sheet wants pictures of one size."""
    height, width = picture.shape[:2]
    frame = np.full((size, size, 3), 255, np.uint8)
    top, left = (size - height) // 2, (size - width) // 2
    frame[top : top + height, left : left + width] = picture
    return frame
