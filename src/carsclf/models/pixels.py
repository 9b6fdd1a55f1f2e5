"""From uint8 pixels to what a network eats; on the batch, where the accelerator is."""

import torch
from torch import nn


class Normalise(nn.Module):
    """uint8 pixels to floats with the network's mean and standard deviation."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, mean: list[float], std: list[float], *, channels_last: bool = False) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1) * 255, persistent=False)
        self.layout = torch.channels_last if channels_last else torch.contiguous_format

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """(n, 3, h, w) uint8 to float32 in the layout the network was given."""
        return ((pictures.float() - self.mean) / self.std).to(memory_format=self.layout)
