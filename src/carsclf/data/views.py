"""Test-time augmentation: several views of one picture, whose predictions are averaged.

They are cut from what the evaluation transform stores, a resized uint8 picture, so that a photo is
read and decoded once for all of them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2.functional import (
    center_crop,
    five_crop,
    horizontal_flip,
    resize,
)
from torchvision.transforms.v2.functional import ten_crop as mirrored_five_crop

from carsclf.data.augment import Draws
from carsclf.data.transforms import EvalTransform, Stored
from carsclf.errors import ConfigError

MIDDLES = (1.0, 7 / 8, 3 / 4)  # shares of the plain view's side that `scales` enlarges
Cut = Callable[[torch.Tensor, EvalTransform], list[torch.Tensor]]


def flip(picture: torch.Tensor, plain: EvalTransform) -> list[torch.Tensor]:
    """The plain view and its mirror image."""
    view = center_crop(picture, [plain.size])
    return [view, horizontal_flip(view)]


def crops(picture: torch.Tensor, plain: EvalTransform) -> list[torch.Tensor]:
    """Corners and middle of the middle square. Krizhevsky et al. 2012, without the mirrors."""
    return list(five_crop(_square(picture, plain), [plain.size, plain.size]))


def ten_crop(picture: torch.Tensor, plain: EvalTransform) -> list[torch.Tensor]:
    """Corners and middle of the middle square, and their mirror images. Krizhevsky et al. 2012."""
    return list(mirrored_five_crop(_square(picture, plain), [plain.size, plain.size]))


def scales(picture: torch.Tensor, plain: EvalTransform) -> list[torch.Tensor]:
    """The plain view and its middle at two larger scales, all of one size.

    After Simonyan & Zisserman 2015, who average over three scales of the picture; enlarged to the
    size of the plain view here, since many networks take no other.
    """
    view, mode = center_crop(picture, [plain.size]), InterpolationMode(plain.interpolation)
    sides = [round(share * plain.size) for share in MIDDLES]
    whole = [plain.size, plain.size]
    return [resize(center_crop(view, [side]), whole, mode) for side in sides]


CUTS: dict[str, tuple[int, Cut]] = {
    "flip": (2, flip),
    "crops": (5, crops),
    "ten_crop": (10, ten_crop),
    "scales": (len(MIDDLES), scales),
}
"""For each `tta`, how many views it makes, and how."""


@dataclass(frozen=True)
class Views:
    """An evaluation transform that shows several views of each picture; in place of `plain`."""

    plain: EvalTransform
    kind: str

    def __post_init__(self) -> None:
        """Raises ConfigError where all crops would be one."""
        size, short = self.plain.size, self.plain.resize
        if self.kind in ("crops", "ten_crop") and short <= size:
            raise ConfigError(
                f"tta={self.kind} cuts views of {size} pixels out of larger pictures, and this "
                f"model's are resized to {short}, so that nothing is left to choose: take tta=flip "
                "or tta=scales, or a model trained with data.transform=random_resized_crop "
                f"(pictures of {round(size / 0.875)})"
            )

    @property
    def count(self) -> int:
        return CUTS[self.kind][0]

    def cost(self, seconds: float) -> str:
        """What they cost, in words; seconds: that predicting with them took."""
        return (
            f"{self.kind}: {self.count} views of each picture: {self.count} x the network's time; "
            f"{seconds:.0f} s"
        )

    @property
    def stored(self) -> Stored:
        return self.plain.stored

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what `finish` returns."""
        return (self.count, *self.plain.shape)

    def finish(self, picture: np.ndarray, draws: Draws) -> np.ndarray:
        """(height, width, 3) to (count, size, size, 3), uint8."""
        whole = torch.from_numpy(np.array(picture)).permute(2, 0, 1)  # a pack is read-only
        views = CUTS[self.kind][1](whole, self.plain)
        return torch.stack(views).permute(0, 2, 3, 1).numpy()


def _square(picture: torch.Tensor, plain: EvalTransform) -> torch.Tensor:
    return center_crop(picture, [plain.resize])
