"""What happens to a picture on its way in: training and evaluation side by side.

A transform has two parts. `stored` is what never changes from epoch to epoch; a pack keeps its
result. `finish` is the rest: cheap, and decided by the photo's own draws. All of it works on uint8;
conversion to float and normalisation happen on the batch, where the accelerator is.
"""

import math
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2.functional import center_crop, resize

from carsclf.data.augment import Augmentation, Draws, area_crop, draws, random_crop
from carsclf.errors import ConfigError, nearest

Step = partial[np.ndarray] | Augmentation
LONGEST = 10  # times the short side: of longer pictures the middle is kept, else one fills a cache
MEAN_AREA = 0.54  # of random_resized_crop's areas, uniform in [0.08, 1]


@dataclass(frozen=True)
class Stored:
    """The unchanging part of a transform: a resize.

    rule "squash": to size x size, ignoring the aspect ratio; "short": the short side to `size`;
    "at_most": the same, but only where it is longer. Sizes in pixels. "short" and "at_most" keep
    the middle of a picture that is more than LONGEST times as long as wide.
    """

    rule: str
    size: int
    interpolation: str

    def __call__(self, picture: torch.Tensor) -> torch.Tensor:
        """(3, height, width) to the same, uint8."""
        if self.rule != "squash":
            most = LONGEST * min(picture.shape[1:])
            picture = center_crop(picture, [min(side, most) for side in picture.shape[1:]])
        if self.rule == "at_most" and min(picture.shape[1:]) <= self.size:
            return picture
        shape = [self.size, self.size] if self.rule == "squash" else [self.size]
        return resize(picture, shape, InterpolationMode(self.interpolation))

    def array(self, picture: torch.Tensor) -> np.ndarray:
        """(3, height, width) to contiguous (height, width, 3), as `finish` and packs take it."""
        return self(picture).permute(1, 2, 0).contiguous().numpy()

    def pixels(self, width: int, height: int) -> int:
        """How many pixels a picture of that size has afterwards."""
        short, long = sorted((width, height))
        if self.rule == "squash":
            return self.size**2
        size = min(short, self.size) if self.rule == "at_most" else self.size
        return size * int(size * min(LONGEST, long / short))


@dataclass(frozen=True)
class EvalTransform:
    """The deterministic transform that travels with a model in `model.json`.

    rule "squash": resize to size x size, ignoring the aspect ratio; "center_crop": resize the short
    side to `resize`, cut the middle size x size. Sizes in pixels.
    """

    rule: str
    size: int
    resize: int
    interpolation: str = "bilinear"

    @property
    def stored(self) -> Stored:
        rule = "squash" if self.rule == "squash" else "short"
        return Stored(rule, self.resize, self.interpolation)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what `finish` returns."""
        return (self.size, self.size, 3)

    def __call__(self, picture: torch.Tensor) -> torch.Tensor:
        """(3, height, width) to (3, size, size), uint8."""
        return torch.from_numpy(self.finish(self.stored.array(picture), ())).permute(2, 0, 1)

    def finish(self, picture: np.ndarray, draws: Draws) -> np.ndarray:
        """(height, width, 3) to (size, size, 3); the middle, rounded as torchvision does."""
        top, left = (round((side - self.size) / 2) for side in picture.shape[:2])
        return picture[top : top + self.size, left : left + self.size]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class TrainTransform:
    """Geometry, then augmentation. `random` is False where every epoch sees the same picture."""

    stored: Stored
    size: int
    steps: tuple[Step, ...]

    @property
    def random(self) -> bool:
        return bool(self.steps)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what `finish` returns."""
        return (self.size, self.size, 3)

    def __call__(self, picture: torch.Tensor, seed: int = 0) -> torch.Tensor:
        """(3, height, width) to (3, size, size), uint8."""
        finished = self.finish(self.stored.array(picture), draws([seed])[0])
        return torch.from_numpy(finished).permute(2, 0, 1)

    def finish(self, picture: np.ndarray, draws: Draws) -> np.ndarray:
        """(height, width, 3) to (size, size, 3), as the draws, uniform in [0, 1), decide."""
        for step in self.steps:
            picture = step(picture, draws)
        return picture

    @property
    def plain(self) -> "TrainTransform":
        """The same without augmentation."""
        return replace(self, steps=tuple(s for s in self.steps if not isinstance(s, Augmentation)))

    def to_dict(self) -> dict[str, Any]:
        """All that shapes its pictures besides the draws."""
        steps = [
            [s.func.__name__, s.keywords]
            if isinstance(s, partial)
            else [type(s).__name__, asdict(s)]
            for s in self.steps  # repr would name a function's address
        ]
        return {"stored": asdict(self.stored), "size": self.size, "steps": steps}


Pair = tuple[TrainTransform, EvalTransform]


def squash(size: int, mode: str, augmentation: Augmentation) -> Pair:
    """The whole picture in a square; cars keep their ends. The same in training and evaluation."""
    rule = EvalTransform("squash", size, size, mode)
    return TrainTransform(rule.stored, size, _augment(augmentation)), rule


def published(size: int, mode: str, augmentation: Augmentation) -> Pair:
    """The study's Resize + RandomCrop; in evaluation the centre (the study crops anywhere)."""
    rule = EvalTransform("center_crop", size, size, mode)
    crop = partial(random_crop, size=size)
    return TrainTransform(rule.stored, size, (crop, *_augment(augmentation))), rule


def random_resized_crop(size: int, mode: str, augmentation: Augmentation) -> Pair:
    """Szegedy et al. 2014's area sampling + flip; evaluation at the usual 0.875 centre.

    Training keeps photos at the short side at which a crop of the mean area is neither enlarged nor
    shrunk (1.36 size); a smaller photo keeps its own pixels. Evaluation's 1.14 size would blur
    every second crop.
    """
    rule = EvalTransform("center_crop", size, round(size / 0.875), mode)
    stored = Stored("at_most", round(size / math.sqrt(MEAN_AREA)), mode)
    crop = partial(area_crop, size=size, mode=mode)
    # its own flip of 0.5 leaves any further one without effect
    steps = (crop, *_augment(replace(augmentation, flip=0.5)))
    return TrainTransform(stored, size, steps), rule


PAIRS = {
    "squash": squash,
    "published": published,
    "random_resized_crop": random_resized_crop,
}


def build_transforms(name: str, size: int, interpolation: str, augmentation: Augmentation) -> Pair:
    """The pair for `data.transform`; raises ConfigError for names and sizes that do not exist."""
    if name not in PAIRS:
        raise ConfigError(f"data.transform={name} is unknown: {nearest(name, PAIRS)}")
    if interpolation not in ("bilinear", "bicubic"):
        raise ConfigError(f"data.interpolation={interpolation}: expected bilinear or bicubic")
    if size < 8:
        raise ConfigError(f"data.image_size={size}: expected at least 8 pixels")
    return PAIRS[name](size, interpolation, augmentation)


def _augment(augmentation: Augmentation) -> tuple[Step, ...]:
    return (augmentation,) if augmentation.random else ()
