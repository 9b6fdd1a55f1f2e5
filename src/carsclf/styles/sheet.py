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
    """`styles.png`: in each row photos with the picture made of each, a pair for each style.

    read: how photos are cropped.
    """
    by_style: dict[str, list[Planned]] = {}
    for one in planned:
        by_style.setdefault(one.style, []).append(one)
    pictures, labels = [], []
    for row in range(min(SHOWN, *(len(found) for found in by_style.values()))):
        for style in sorted(by_style):
            one = by_style[style][row]
            photo = fitted(one.sample, size, **read).permute(1, 2, 0).numpy()
            with Image.open(out / one.name) as made:
                pictures += [framed(photo, size), framed(np.asarray(made), size)]
            labels += [class_names[one.sample.target], style]
    contact_sheet(pictures, labels, out / "styles.png", columns=2 * len(by_style))


def framed(picture: np.ndarray, size: int) -> np.ndarray:
    """In the middle of a white square, as a sheet wants pictures of one size."""
    height, width = picture.shape[:2]
    frame = np.full((size, size, 3), 255, np.uint8)
    top, left = (size - height) // 2, (size - width) // 2
    frame[top : top + height, left : left + width] = picture
    return frame
