"""From uint8 pixels to what a network eats; on the batch, where the accelerator is."""

from collections.abc import Sequence

import torch
from torch import nn


def stacked(pictures: Sequence[torch.Tensor]) -> torch.Tensor:
    """(3, h, w) each to (n, 3, h, w), in the layout that transforms leave: colours side by side."""
    return torch.stack([picture.permute(1, 2, 0) for picture in pictures]).permute(0, 3, 1, 2)


class Normalise(nn.Module):
    """uint8 pixels to floats with the network's mean and standard deviation."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, mean: list[float], std: list[float], *, channels_last: bool = False) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1) * 255, persistent=False)
        self.channels_last = channels_last

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """(n, 3, h, w) uint8 to float32 in the layout the network was given."""
        scale, shift = 1 / self.std, -self.mean / self.std
        if not self.channels_last:
            return _scaled(pictures.contiguous(), scale, shift)
        n, channels, height, width = pictures.shape
        # one row of pixels at a time: steps of three channels would leave vector units idle
        rows = pictures.permute(0, 2, 3, 1).reshape(n, height, width * channels)
        floats = _scaled(rows, scale.flatten().repeat(width), shift.flatten().repeat(width))
        return floats.view(n, height, width, channels).permute(0, 3, 1, 2)


def _scaled(pixels: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    floats = pixels.to(torch.float32, copy=True)
    return torch.addcmul(shift, floats, scale, out=floats)
