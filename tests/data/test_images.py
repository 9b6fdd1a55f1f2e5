"""Odd pictures simply work; broken ones are named."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2.functional import resize

from carsclf.data.images import check_crop, read_picture, unreadable
from carsclf.data.samples import Sample
from carsclf.data.transforms import Stored
from carsclf.errors import ConfigError, DataError

RED = np.zeros((20, 30, 3), np.uint8)
RED[..., 0] = 200


def sample(path: Path, box: tuple[int, int, int, int] | None = None) -> Sample:
    return Sample(path.name, path, 0, None, box)


def saved(path: Path, image: Image.Image, **options: Any) -> torch.Tensor:
    image.save(path, **options)
    return read_picture(sample(path))


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1", "LA"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    name = "a.jpg" if mode == "CMYK" else "a.png"
    picture = saved(tmp_path / name, Image.fromarray(RED).convert(mode))
    assert (picture.shape, picture.dtype) == ((3, 20, 30), torch.uint8)


def test_transparent_pixels_become_white(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert (saved(tmp_path / "a.png", clear) == 255).all()


def test_16_bit_greys_are_scaled_not_clipped(tmp_path: Path) -> None:
    grey = Image.fromarray(np.full((4, 4), 128 * 256, np.uint16))
    assert (saved(tmp_path / "a.png", grey) == 128).all()


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    assert saved(tmp_path / "a.jpg", Image.fromarray(RED), exif=exif).shape == (3, 30, 20)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [7, 31, 64])
def test_colours_side_by_side_are_resized_to_the_same(
    tmp_path: Path, size: int, interpolation: str
) -> None:
    """As planes of colours, which torch resizes by other code: packs and models are of both."""
    noise = np.random.default_rng(0).integers(0, 256, (33, 41, 3), np.uint8)
    picture = saved(tmp_path / "a.png", Image.fromarray(noise))
    assert picture.stride()[0] == 1, "as decoded"
    planes = resize(picture.contiguous(), [size, size], InterpolationMode(interpolation))
    torch.testing.assert_close(
        Stored("squash", size, interpolation)(picture), planes, rtol=0, atol=0
    )


def test_crop_with_margin_stays_inside(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(RED).save(path)
    boxed = sample(path, (10, 5, 20, 15))
    assert read_picture(boxed, crop="box").shape == (3, 10, 10)
    assert read_picture(boxed, crop="box", margin=0.2).shape == (3, 14, 14)
    assert read_picture(boxed, crop="box", margin=5).shape == (3, 20, 30)
    with pytest.raises(DataError, match="lies outside"):
        read_picture(sample(path, (40, 5, 50, 15)), crop="box")


# columns and rows that are left of 60 x 40, box (20, 10, 40, 18): a fifth of 20 and of 8 pixels
WIDENED = {
    (20, 10, 40, 18): (16, 44, 8, 20),
    (2, 10, 22, 18): (0, 26, 8, 20),
    (38, 10, 58, 18): (34, 60, 8, 20),
    (20, 1, 40, 9): (16, 44, 0, 11),
    (20, 31, 40, 39): (16, 44, 29, 40),
}


@pytest.mark.parametrize("box", WIDENED)
def test_the_margin_is_a_share_of_each_side_and_ends_at_the_picture(
    box: tuple[int, int, int, int], tmp_path: Path
) -> None:
    rows, columns = np.indices((40, 60), dtype=np.uint8)
    Image.fromarray(np.stack([columns, rows, rows], 2)).save(tmp_path / "a.png")
    cut = read_picture(sample(tmp_path / "a.png", box), crop="box", margin=0.2)
    left, right, top, bottom = WIDENED[box]
    assert cut[0, 0].tolist() == list(range(left, right))
    assert cut[1, :, 0].tolist() == list(range(top, bottom))


def test_broken_pictures_are_found(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    for name in ("good.jpg", "cut.jpg"):
        Image.fromarray(noise).save(tmp_path / name)
    whole = (tmp_path / "cut.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.jpg").write_text("hello")
    samples = [sample(tmp_path / name) for name in ("good.jpg", "cut.jpg", "text.jpg")]
    assert [*unreadable(samples, workers=2)] == ["cut.jpg", "text.jpg"]
    with pytest.raises(DataError, match=r"cut\.jpg cannot be read.*skip_unreadable=true"):
        read_picture(samples[1])


def test_crop_needs_boxes(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="have no boxes"):
        check_crop([sample(tmp_path / "a.png")], "box", 0)
    with pytest.raises(ConfigError, match="expected none or box"):
        check_crop([], "boxes", 0)
