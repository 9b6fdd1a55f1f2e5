"""From a file to pixels: any readable picture becomes RGB, upright, uint8."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from PIL import Image, ImageOps

from carsclf.data.samples import Sample
from carsclf.errors import ConfigError, DataError

Image.MAX_IMAGE_PIXELS = None  # one's own photos: large ones are no attack


def read_picture(sample: Sample, *, crop: str = "none", margin: float = 0.0) -> torch.Tensor:
    """Pixels of one photo, (3, height, width) uint8, upright, optionally cropped to its box.

    Grey, palette, CMYK, 16-bit and transparent pictures (on white) are converted. `margin` widens
    the box by that share of its sides. Raises DataError naming the photo if it cannot be read.
    """
    try:
        with Image.open(sample.path) as image:
            picture = upright(image)
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises for broken files
        raise DataError(
            f"{sample.path} cannot be read as a picture ({error}): replace it, or leave "
            "unreadable ones out with data.skip_unreadable=true"
        ) from None
    if crop == "box":
        picture = picture.crop(_widened(sample, margin, picture.size))
    return _tensor(picture)


def pixels(image: Image.Image) -> torch.Tensor:
    """What `read_picture` gives for a file, of an image in memory. Raises what Pillow raises."""
    return _tensor(upright(image))


def upright(image: Image.Image) -> Image.Image:
    """RGB, turned as its EXIF entry says."""
    return _rgb(ImageOps.exif_transpose(image))


def unreadable(samples: Sequence[Sample], *, workers: int) -> list[str]:
    """Ids of photos that cannot be decoded; every photo is decoded once, in parallel.

    Threads are enough: Pillow lets go of the interpreter while it decodes.
    """
    with ThreadPoolExecutor(workers) as pool:
        good = list(pool.map(_readable, samples))
    return [sample.id for sample, ok in zip(samples, good, strict=True) if not ok]


def check_crop(samples: Sequence[Sample], crop: str, margin: float) -> None:
    """Refuses a crop that the samples have no boxes for."""
    if crop not in ("none", "box"):
        raise ConfigError(f"data.crop={crop}: expected none or box")
    if margin < 0:
        raise ConfigError(f"data.margin={margin}: expected a share of the box's side, 0 or more")
    if crop == "box" and any(sample.box is None for sample in samples):
        raise ConfigError("data.crop=box: these photos have no boxes; use data.crop=none")


def _readable(sample: Sample) -> bool:
    try:
        read_picture(sample)
    except DataError:
        return False
    return True


def _tensor(picture: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I;16", "I;16B", "I;16L", "I"):
        # Pillow clips 16-bit greys to 255 instead of scaling them
        high_byte = (np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
        return Image.fromarray(high_byte).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def _widened(sample: Sample, margin: float, size: tuple[int, int]) -> tuple[int, int, int, int]:
    assert sample.box is not None  # check_crop
    left, top, right, bottom = sample.box
    dx, dy = round((right - left) * margin), round((bottom - top) * margin)
    left, top = max(0, left - dx), max(0, top - dy)
    right, bottom = min(size[0], right + dx), min(size[1], bottom + dy)
    if right <= left or bottom <= top:
        raise DataError(f"{sample.path}: its box {sample.box} lies outside the {size} picture")
    return left, top, right, bottom
