"""What happens to a picture on its way in: training and evaluation side by side.

All of it works on uint8 (3, height, width) tensors; conversion to float and normalisation happen
on the batch, where the accelerator is.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torchvision.transforms import InterpolationMode, v2

from carsclf.errors import ConfigError, nearest

Transform = Callable[[torch.Tensor], torch.Tensor]
GREY = (124, 116, 104)  # ImageNet's mean colour, in the corners a rotation leaves empty


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

    def __call__(self, picture: torch.Tensor) -> torch.Tensor:
        mode = InterpolationMode(self.interpolation)
        if self.rule == "squash":
            return v2.functional.resize(picture, [self.size, self.size], mode)
        picture = v2.functional.resize(picture, [self.resize], mode)
        return v2.functional.center_crop(picture, [self.size, self.size])

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


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

    def steps(self) -> list[Transform]:
        steps: list[Transform] = []
        if self.flip:
            steps.append(v2.RandomHorizontalFlip(self.flip))
        if self.rotation or self.zoom:
            steps.append(
                v2.RandomAffine(
                    degrees=[-self.rotation, self.rotation],
                    scale=(1 - self.zoom, 1 + self.zoom),
                    interpolation=InterpolationMode.BILINEAR,
                    fill=list(GREY),
                )
            )
        return steps


@dataclass(frozen=True)
class TrainTransform:
    """Geometry, then augmentation. `random` is False where every epoch sees the same picture."""

    steps: tuple[Transform, ...]
    random: bool

    def __call__(self, picture: torch.Tensor) -> torch.Tensor:
        for step in self.steps:
            picture = step(picture)
        return picture


def squash(size: int, mode: str) -> tuple[list[Transform], EvalTransform, bool]:
    """The whole picture in a square; cars keep their ends. The same in training and evaluation."""
    rule = EvalTransform("squash", size, size, mode)
    return [rule], rule, False


def published(size: int, mode: str) -> tuple[list[Transform], EvalTransform, bool]:
    """The study's Resize + RandomCrop; in evaluation the centre (the study crops anywhere)."""
    steps = [v2.Resize(size, InterpolationMode(mode)), v2.RandomCrop(size)]
    return steps, EvalTransform("center_crop", size, size, mode), True


def random_resized_crop(size: int, mode: str) -> tuple[list[Transform], EvalTransform, bool]:
    """Szegedy et al. 2014's area sampling + flip; evaluation at the usual 0.875 centre."""
    steps = [
        v2.RandomResizedCrop(size, interpolation=InterpolationMode(mode)),
        v2.RandomHorizontalFlip(),
    ]
    return steps, EvalTransform("center_crop", size, round(size / 0.875), mode), True


PAIRS = {
    "squash": squash,
    "published": published,
    "random_resized_crop": random_resized_crop,
}


def build_transforms(
    name: str, size: int, interpolation: str, augmentation: Augmentation
) -> tuple[TrainTransform, EvalTransform]:
    """The pair for `data.transform`; raises ConfigError for names and sizes that do not exist."""
    if name not in PAIRS:
        raise ConfigError(f"data.transform={name} is unknown: {nearest(name, PAIRS)}")
    if interpolation not in ("bilinear", "bicubic"):
        raise ConfigError(f"data.interpolation={interpolation}: expected bilinear or bicubic")
    if size < 8:
        raise ConfigError(f"data.image_size={size}: expected at least 8 pixels")
    geometry, evaluation, moves = PAIRS[name](size, interpolation)
    steps = (*geometry, *augmentation.steps())
    return TrainTransform(steps, moves or augmentation.random), evaluation
