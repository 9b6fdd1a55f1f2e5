"""Findings about single pictures: size, light, sharpness, shape, how much the subject fills."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from carsclf.curation.findings import Library, Rows
from carsclf.data.samples import Source

NORMAL = 1.4826  # the median absolute deviation times this is a normal distribution's deviation
LEAST_SPREAD = 0.05  # in logarithms: where nearly all are alike, a few per cent are nothing odd


def unreadable(source: Source, measures: pd.DataFrame) -> Rows:
    """What cannot be decoded, and why. measures: of the source's samples, in order."""
    return [
        {
            "kind": "unreadable", "id": sample.id, "path": str(sample.path), "score": 1.0,
            "class": source.class_names[sample.target], "reason": why,
        }
        for sample, why in zip(source.samples, measures["unreadable"], strict=True)
        if isinstance(why, str)
    ]  # fmt: skip


def poor(library: Library, short_side: int, dark: float, bright: float, deviations: float) -> Rows:
    """Small, dark, bright, blurred and oddly shaped ones, each kind with the worst first."""
    m = library.measures
    short = m[["width", "height"]].min(axis=1).to_numpy(float)
    light, sharp = m["brightness"].to_numpy(float), m["sharpness"].to_numpy(float)
    blur = -outlying(np.log(np.maximum(sharp, 1e-3)))
    shape = (m["width"] / m["height"]).to_numpy(float)
    odd = outlying(np.log(shape))
    return [
        *_above(library, "too_small", short_side - short, 0, lambda i: f"{short[i]:.0f} pixels"),
        *_above(library, "too_dark", dark - light, 0, lambda i: f"mean grey {light[i]:.0f} of 255"),
        *_above(
            library, "too_bright", light - bright, 0, lambda i: f"mean grey {light[i]:.0f} of 255"
        ),
        *_above(
            library, "blurred", blur, deviations,
            lambda i: f"variance of the Laplacian {sharp[i]:.0f}, "
            f"{blur[i]:.1f} deviations below the median {np.nanmedian(sharp):.0f}",
        ),
        *_above(
            library, "odd_shape", np.abs(odd), deviations,
            lambda i: f"{shape[i]:.2f} times as wide as high, {abs(odd[i]):.1f} deviations from "
            f"the median {np.nanmedian(shape):.2f}",
        ),
    ]  # fmt: skip


def small_subjects(library: Library, share: float) -> Rows:
    """Boxes that fill less than a share of their picture, where there are boxes."""
    m, filled = library.measures, np.full(len(library.samples), np.nan)
    for i, sample in enumerate(library.samples):
        if sample.box is not None:
            left, top, right, bottom = sample.box
            filled[i] = (right - left) * (bottom - top) / (m["width"][i] * m["height"][i])
    return _above(
        library, "small_subject", share - filled, 0,
        lambda i: f"its box fills {filled[i]:.1%} of the picture",
    )  # fmt: skip


def outlying(values: np.ndarray) -> np.ndarray:
    """How many robust standard deviations from the median; Iglewicz and Hoaglin 1993 cut at 3.5.

    NaN stays NaN. values: logarithms.
    """
    away = values - np.nanmedian(values)
    return away / max(NORMAL * float(np.nanmedian(np.abs(away))), LEAST_SPREAD)


def _above(
    library: Library, kind: str, values: np.ndarray, least: float, words: Callable[[int], str]
) -> Rows:
    """Photos whose value lies above, the largest first; NaN does not."""
    found = np.flatnonzero(np.nan_to_num(values, nan=-np.inf) > least)
    order = found[np.argsort(-values[found], kind="stable")]
    return [library.row(kind, i, words(i), float(values[i])) for i in order.tolist()]
