"""What a picture looks like in numbers: how colourful it is, and how marked its edges are."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.ndimage import sobel

LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
MEASURES = ("colourfulness", "saturation", "edge_energy", "colours")
VERSIONS, MEAN = ("original", "augmented"), "mean"


def appearance(picture: np.ndarray) -> dict[str, float]:
    """MEASURES of a (height, width, 3) uint8 picture.

    colourfulness: of Hasler and Suesstrunk (2003), 0 for grey, about 110 for what people call
    extremely colourful; saturation: mean of HSV's, in [0, 1]; edge_energy: mean magnitude of the
    Sobel gradient, in grey levels per pixel; colours: how many different ones there are.
    """
    pixels = picture.astype(float)
    packed = picture.reshape(-1, 3).astype(np.uint32) @ np.array([65_536, 256, 1], np.uint32)
    values = (
        *(colourfulness(pixels), saturation(pixels), edge_energy(pixels)),
        float(len(np.unique(packed))),
    )
    return dict(zip(MEASURES, values, strict=True))


def colourfulness(pixels: np.ndarray) -> float:
    """sigma + 0.3 mu of the opponent colours rg = R - G and yb = (R + G) / 2 - B.

    sigma and mu: lengths of the vectors of both deviations, and of both means. Hasler and
    Suesstrunk, Measuring colourfulness in natural images (2003), their M3.
    """
    red, green, blue = np.moveaxis(pixels, -1, 0)
    rg, yb = red - green, (red + green) / 2 - blue
    return float(np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean()))


def saturation(pixels: np.ndarray) -> float:
    """Mean over pixels of (max - min) / max of the three colours; 0 where all are 0."""
    most, least = pixels.max(-1), pixels.min(-1)
    return float(((most - least) / np.maximum(most, 1)).mean())


def edge_energy(pixels: np.ndarray) -> float:
    """Mean magnitude of the gradient of luma: a ramp of one level a pixel has 1 (inside)."""
    grey = pixels @ LUMA
    across, down = (sobel(grey, axis=axis, mode="nearest") / 8 for axis in (1, 0))
    return float(np.hypot(across, down).mean())


def compared(pairs: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> pd.DataFrame:
    """MEASURES of originals and changed pictures by name: two rows each, then both means.

    Columns: picture, version (original, augmented), MEASURES.
    """
    rows = [
        {"picture": name, "version": version, **appearance(picture)}
        for name, pair in pairs.items()
        for version, picture in zip(VERSIONS, pair, strict=True)
    ]
    table = pd.DataFrame(rows)
    means = pd.DataFrame(table.groupby("version", sort=False)[list(MEASURES)].mean()).reset_index()
    return pd.concat([table, means.assign(picture=MEAN)], ignore_index=True)


def in_words(table: pd.DataFrame) -> str:
    """Both means of `compared`, in a line."""
    means = table[table["picture"] == MEAN].set_index("version")
    before, after = (means.loc[version] for version in VERSIONS)
    said: Sequence[tuple[str, str]] = (
        *(("colourfulness", ".0f"), ("saturation", ".2f"), ("edge_energy", ".1f")),
        ("colours", ",.0f"),
    )
    return ", ".join(f"{n.replace('_', ' ')} {before[n]:{f}} → {after[n]:{f}}" for n, f in said)
