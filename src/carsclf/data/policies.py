"""Richer changes of training pictures: policies, erased boxes, and copies in other colours."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from carsclf.data.augment import COPY, GREY, POLICY, Augmentation, Draws, mirror
from carsclf.errors import ConfigError, nearest

POLICIES = ("none", "trivial", "rand")


@dataclass(frozen=True)
class Policy(Augmentation):
    """`Augmentation`, then torchvision's operations on colour and form, then an erased box.

    policy: `trivial`, one operation of random strength (TrivialAugment, Mueller and Hutter 2021);
    `rand`, so many `operations` of one `magnitude`, 0 to 30 (RandAugment, Cubuk et al. 2020);
    `none`. erasing: the probability that a box of 2 to 33 % of the picture becomes grey (Zhong et
    al. 2020).
    """

    policy: str = "none"
    operations: int = 2
    magnitude: int = 9
    erasing: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.policy not in POLICIES:
            raise ConfigError(
                f"augmentation.policy={self.policy}: {nearest(self.policy, POLICIES)}"
            )

    @property
    def random(self) -> bool:
        return super().random or self.policy != "none" or self.erasing > 0

    @cached_property
    def _steps(self) -> list[Callable[[torch.Tensor], torch.Tensor]]:
        fill, steps = list(map(float, GREY)), list[Callable[[torch.Tensor], torch.Tensor]]()
        if self.policy == "trivial":
            steps.append(v2.TrivialAugmentWide(fill=fill))
        elif self.policy == "rand":
            steps.append(v2.RandAugment(self.operations, self.magnitude, fill=fill))
        if self.erasing:
            steps.append(v2.RandomErasing(self.erasing, value=fill))  # type: ignore[arg-type]
        return steps

    def __call__(self, picture: np.ndarray, draws: Draws) -> np.ndarray:
        picture = super().__call__(picture, draws)
        if not self._steps:
            return picture
        pixels = torch.from_numpy(picture).permute(2, 0, 1).contiguous()
        with torch.random.fork_rng(devices=[]):
            # theirs draw from this one; torch.manual_seed would reseed a card's as well
            torch.default_generator.manual_seed(int(draws[POLICY] * 2**53))
            for step in self._steps:
                pixels = step(pixels)
        return pixels.permute(1, 2, 0).contiguous().numpy()


@dataclass(frozen=True)
class Recoloured(Augmentation):
    """`Augmentation`, and for a share of the pictures fixed factors of colour, as one copy more.

    The published follow-up gave each training picture one such copy; here a picture is its copy
    with probability `share`, which leaves the epoch's length alone. brightness, contrast and
    saturation: factors, 1 as it was; hue: a turn of the colour circle, -0.5 to 0.5; mirrored:
    whether the copy is turned left to right.
    """

    share: float = 0.5
    brightness: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    hue: float = 0.0
    mirrored: bool = False

    @property
    def random(self) -> bool:
        return super().random or self.share > 0

    def __call__(self, picture: np.ndarray, draws: Draws) -> np.ndarray:
        picture = super().__call__(picture, draws)
        return self.recoloured(picture) if draws[COPY] < self.share else picture

    def recoloured(self, picture: np.ndarray) -> np.ndarray:
        """The copy of a picture, (height, width, 3) uint8."""
        picture = mirror(picture) if self.mirrored else picture
        pixels = torch.from_numpy(picture).permute(2, 0, 1)
        for change, factor, neutral in (
            (functional.adjust_brightness, self.brightness, 1),
            (functional.adjust_contrast, self.contrast, 1),
            (functional.adjust_saturation, self.saturation, 1),
            (functional.adjust_hue, self.hue, 0),
        ):
            if factor != neutral:
                pixels = change(pixels, factor)
        return pixels.permute(1, 2, 0).contiguous().numpy()
