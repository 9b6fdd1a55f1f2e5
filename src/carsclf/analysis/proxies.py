"""What can be measured of a photo, in place of the causes of an error, which nobody noted."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

SIDE = 160
"""Pixels of the longer side at which photos are compared: detail beyond it is size, not content."""
FRAME = 0.15
"""Share of each side that counts as surroundings: cars stand in the middle of their photos."""


def measure(path: Path) -> dict[str, float]:
    """Proxies of one photo; all NaN where it cannot be read.

    brightness, contrast: mean and standard deviation of grey, in [0, 1] and [0, 0.5]; sharpness:
    standard deviation of the Laplacian of grey at SIDE pixels, 0 or more; size: megapixels; aspect:
    width / height; edges around: mean gradient of grey in the outer frame, 0 or more.
    """
    names = ("brightness", "contrast", "sharpness", "size", "aspect", "edges around")
    try:
        with Image.open(BytesIO(path.read_bytes())) as image:  # one read, where Pillow makes forty
            width, height = image.size
            image.draft("L", (SIDE, SIDE))  # a JPEG is decoded at a fraction of its size
            grey = image.convert("L")
            grey.thumbnail((SIDE, SIDE), Image.Resampling.BILINEAR)
            if min(grey.size) < 2:
                raise ValueError("a line has no edges")
    except Exception:  # a damaged header makes Pillow raise a dozen kinds
        return dict.fromkeys(names, float("nan"))
    pixels = np.asarray(grey, np.float32) / 255
    around = np.linalg.norm(np.gradient(pixels), axis=0)
    frame = np.ones(around.shape, bool)
    down, right = (max(1, round(FRAME * side)) for side in around.shape)
    frame[down:-down, right:-right] = False
    values = (
        *(float(pixels.mean()), float(pixels.std()), float(_laplacian(pixels).std())),
        *(width * height / 1e6, width / height, float(around[frame].mean())),
    )
    return dict(zip(names, values, strict=True))


def measure_all(paths: Sequence[str]) -> pd.DataFrame:
    """A row of proxies per photo, in the order of `paths`."""
    return pd.DataFrame([measure(Path(path)) for path in paths])


def _laplacian(pixels: np.ndarray) -> np.ndarray:
    p = np.pad(pixels, 1, mode="edge")
    return p[:-2, 1:-1] + p[2:, 1:-1] + p[1:-1, :-2] + p[1:-1, 2:] - 4 * p[1:-1, 1:-1]
