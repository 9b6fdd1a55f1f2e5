"""Random changes of one picture, each decided by the photo's own draws alone.

Pictures are (height, width, 3) uint8 arrays, whose slices cost a tenth of a tensor's; crops are
views, possibly of a pack, so nothing here writes to what it was given.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch.nn.functional import grid_sample
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2.functional import resize

from carsclf.errors import ConfigError

Draws = Sequence[float]
FLIP, ROTATION, ZOOM, CROP = range(4)  # which draw decides what; a crop takes all up to COPY
ATTEMPTS = 10  # at an area and an aspect ratio, before the whole picture is taken
COPY, POLICY = CROP + 2 + 2 * ATTEMPTS, CROP + 3 + 2 * ATTEMPTS
DRAWS = POLICY + 1
# tensors over a read-only map are only read
warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
GREY = (124, 116, 104)  # ImageNet's mean colour, in the corners a rotation leaves empty


def draws(seeds: Sequence[int]) -> list[list[float]]:
    """DRAWS numbers in [0, 1) for each seed: SplitMix64 (Steele et al. 2014), a batch at once.

    A counter-based generator: setting up a stateful one takes longer than a crop.
    """
    state = np.array(seeds, dtype=np.uint64)[:, None]
    state = _mix(state) + np.arange(1, DRAWS + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return ((_mix(state) >> np.uint64(11)) * 2.0**-53).tolist()


def _mix(z: np.ndarray) -> np.ndarray:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@dataclass(frozen=True)
class Augmentation:
    """Random changes of training pictures only; all zero means none.

    flip: probability of a left-right flip; rotation: degrees either way; zoom: share either way.
    """

    flip: float = 0.0
    rotation: float = 0.0
    zoom: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.flip <= 1:
            raise ConfigError(f"augmentation.flip={self.flip}: expected a probability in [0, 1]")
        if self.rotation < 0 or not 0 <= self.zoom < 1:
            raise ConfigError(
                f"augmentation.rotation={self.rotation} and augmentation.zoom={self.zoom}: "
                "expected degrees of 0 or more, and a share in [0, 1)"
            )

    @property
    def random(self) -> bool:
        return any((self.flip, self.rotation, self.zoom))

    def __call__(self, picture: np.ndarray, draws: Draws) -> np.ndarray:
        flip = draws[FLIP] < self.flip
        if not (self.rotation or self.zoom):
            return mirror(picture) if flip else picture
        angle = math.radians(self.rotation * (2 * draws[ROTATION] - 1))
        return warp(picture, angle, 1 + self.zoom * (2 * draws[ZOOM] - 1), flip)


def mirror(picture: np.ndarray) -> np.ndarray:
    """Left to right; torch moves whole vectors of pixels, but only of contiguous pictures."""
    return torch.from_numpy(np.ascontiguousarray(picture)).flip(1).numpy()


def warp(picture: np.ndarray, angle: float, scale: float, flip: bool) -> np.ndarray:
    """Flipped, turned about its middle (radians) and scaled in one pass; corners become GREY."""
    height, width = picture.shape[:2]
    x, y, grey = _middle_out(height, width)
    cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
    side = -1 if flip else 1
    grid = torch.empty(2, height, width)  # where each pixel comes from; edges lie at -1 and 1
    torch.add(x * (side * cos * 2 / width), y * (side * sin * 2 / width), out=grid[0])
    torch.add(x * (-sin * 2 / height), y * (cos * 2 / height), out=grid[1])
    # zeros come in from outside, so grey is made zero
    pixels = torch.from_numpy(picture).permute(2, 0, 1).contiguous().float().sub_(grey)
    pixels = grid_sample(pixels[None], grid.permute(1, 2, 0)[None], align_corners=False)[0]
    return pixels.add_(grey + 0.5).clamp_(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()


@lru_cache(maxsize=8)
def _middle_out(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pixel centres as (1, width) and (height, 1) distances from the middle, and GREY."""
    x = torch.arange(width) - (width - 1) / 2
    y = torch.arange(height) - (height - 1) / 2
    return x[None], y[:, None], torch.tensor(GREY, dtype=torch.float32).view(3, 1, 1)


def random_crop(picture: np.ndarray, draws: Draws, *, size: int) -> np.ndarray:
    """size x size, anywhere inside."""
    return _cut(picture, size, size, draws[CROP], draws[CROP + 1])


def area_crop(picture: np.ndarray, draws: Draws, *, size: int, mode: str) -> np.ndarray:
    """8 to 100 % of the area at an aspect ratio of 3/4 to 4/3, resized (Szegedy et al. 2014)."""
    height, width = picture.shape[:2]
    h, w = min(height, round(width * 4 / 3)), min(width, round(height * 4 / 3))
    for attempt in range(ATTEMPTS):
        u, v = draws[CROP + 2 + 2 * attempt : CROP + 4 + 2 * attempt]
        area, ratio = height * width * (0.08 + 0.92 * u), (3 / 4) ** (1 - 2 * v)
        tried = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
        if 0 < tried[0] <= height and 0 < tried[1] <= width:
            h, w = tried
            break
    else:  # no attempt fits: the largest middle part of an allowed ratio, as torchvision does
        draws = [0.5] * DRAWS
    part = torch.from_numpy(_cut(picture, h, w, draws[CROP], draws[CROP + 1])).permute(2, 0, 1)
    return resize(part, [size, size], InterpolationMode(mode)).permute(1, 2, 0).numpy()


def _cut(picture: np.ndarray, h: int, w: int, u: float, v: float) -> np.ndarray:
    top, left = int(u * (picture.shape[0] - h + 1)), int(v * (picture.shape[1] - w + 1))
    return picture[top : top + h, left : left + w]
