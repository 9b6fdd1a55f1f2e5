"""Measurable properties of pictures made to order."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from carsclf.analysis.proxies import measure, measure_all


def save(path: Path, pixels: np.ndarray) -> str:
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return str(path)


def test_pictures_made_to_order(tmp_path: Path) -> None:
    flat = np.full((80, 160), 51)
    busy = flat.copy()
    busy[:8, ::2] = 255  # only at the upper edge
    halves = flat.copy()
    halves[:, 80:] = 255 - 51
    paths = [save(tmp_path / f"{i}.png", p) for i, p in enumerate((flat, busy, halves))]
    table = measure_all([*paths, str(tmp_path / "missing.png")])
    flat_one, busy_one, halved = table.to_dict("records")[:3]
    assert flat_one["brightness"] == pytest.approx(0.2)
    assert halved["brightness"] == pytest.approx(0.5)
    assert halved["contrast"] == pytest.approx(0.3)
    assert flat_one["aspect"] == 2
    assert flat_one["size"] == pytest.approx(0.0128)
    assert flat_one["edges around"] == flat_one["sharpness"] == 0
    assert busy_one["edges around"] > halved["edges around"]
    assert table.iloc[3].isna().all()


def test_blur_is_less_sharp(tmp_path: Path) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 90, 3), np.uint8))
    noise.save(tmp_path / "sharp.jpg", quality=95)
    noise.filter(ImageFilter.GaussianBlur(2)).save(tmp_path / "blurred.jpg", quality=95)
    sharp, blurred = (measure(tmp_path / f"{n}.jpg")["sharpness"] for n in ("sharp", "blurred"))
    assert sharp > 3 * blurred > 0
