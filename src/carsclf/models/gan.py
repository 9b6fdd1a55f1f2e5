"""The two networks of a class-conditional Wasserstein GAN, small enough for a CPU.

Pictures are float32 (n, 3, size, size) in [-1, 1]; size is 32, 64 or 128.
"""

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

SIZES = (32, 64, 128)
SMALLEST = 4  # pixels a side, where generators begin and critics end


def widths(size: int, width: int) -> list[int]:
    """Channels at each resolution, from the picture's half to 4 x 4: doubled, up to 8 `width`."""
    stages = int(math.log2(size // SMALLEST))
    return [min(width * 2**i, 8 * width) for i in range(stages)]


class ConditionalNorm(nn.Module):
    """BatchNorm whose scale and shift are the class's own (Dumoulin et al. 2017)."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.scale = nn.Embedding(classes, channels)
        self.shift = nn.Embedding(classes, channels)
        nn.init.ones_(self.scale.weight)
        nn.init.zeros_(self.shift.weight)

    def forward(self, x: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        scale, shift = (e(targets)[:, :, None, None] for e in (self.scale, self.shift))
        return self.norm(x) * scale + shift


class Generator(nn.Module):
    """From noise (n, latent) and classes (n,) to pictures: enlarged and convolved, stage by stage.

    The class also shifts the noise's own projection, so that even the coarsest stage, which lays
    out a body's outline, differs from class to class.
    """

    def __init__(self, *, classes: int, latent: int, width: int, size: int) -> None:
        super().__init__()
        self.latent, self.classes = latent, classes
        channels = widths(size, width)[::-1]
        self.project = nn.Linear(latent, channels[0] * SMALLEST**2)
        self.name = nn.Embedding(classes, channels[0] * SMALLEST**2)
        nn.init.normal_(self.name.weight, std=0.5)
        self.first = ConditionalNorm(channels[0], classes)
        pairs = list(zip(channels, [*channels[1:], channels[-1]], strict=True))
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairs)
        self.norms = nn.ModuleList(ConditionalNorm(b, classes) for _, b in pairs)
        self.paint = nn.Conv2d(channels[-1], 3, 3, padding=1)

    def forward(self, noise: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        x = self.project(noise) + self.name(targets)
        x = F.relu(self.first(x.view(len(x), -1, SMALLEST, SMALLEST), targets))
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = F.relu(norm(convolution(F.interpolate(x, scale_factor=2.0)), targets))
        return torch.tanh(self.paint(x))


class Critic(nn.Module):
    """A number for a picture and its class, in no range: how much rather real than made.

    Without BatchNorm, as the penalty is on the gradient of each picture alone (Gulrajani et al.
    2017); the class enters as a projection (Miyato and Koyama 2018).
    """

    def __init__(self, *, classes: int, width: int, size: int) -> None:
        super().__init__()
        channels = [3, *widths(size, width)]
        self.convolutions = nn.ModuleList(nn.Conv2d(*pair, 4, 2, 1) for pair in pairwise(channels))
        self.last = nn.Linear(channels[-1] * SMALLEST**2, channels[-1])
        self.judge = nn.Linear(channels[-1], 1)
        self.name = nn.Embedding(classes, channels[-1])
        nn.init.normal_(self.name.weight, std=0.02)

    def forward(self, pictures: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """(n,)"""
        x = pictures
        for convolution in self.convolutions:
            x = F.leaky_relu(convolution(x), 0.2)
        x = F.leaky_relu(self.last(x.flatten(1)), 0.2)
        return self.judge(x)[:, 0] + (x * self.name(targets)).sum(1)


def critic_loss(
    critic: Callable[..., torch.Tensor],
    real: torch.Tensor,
    made: torch.Tensor,
    targets: torch.Tensor,
) -> torch.Tensor:
    """What a critic minimises: less the Wasserstein estimate (Arjovsky et al. 2017).

    Both of (n, 3, size, size) and of the classes `targets`; they pass together, which is quicker.
    """
    said_real, said_made = critic(torch.cat([real, made]), torch.cat([targets, targets])).chunk(2)
    return said_made.mean() - said_real.mean()


def gradient_penalty(
    critic: Callable[..., torch.Tensor],
    real: torch.Tensor,
    made: torch.Tensor,
    targets: torch.Tensor,
) -> torch.Tensor:
    """Mean of (|gradient| - 1)^2 at random points between real and made pictures.

    Gulrajani et al. 2017, algorithm 1. Each pair has a point of its own.
    """
    share = torch.rand(len(real), 1, 1, 1, device=real.device)
    between = (share * real + (1 - share) * made).requires_grad_()
    (gradient,) = torch.autograd.grad(
        critic(between, targets).sum(), between, create_graph=True, retain_graph=True
    )
    return (gradient.flatten(1).norm(dim=1) - 1).square().mean()
