"""Arbitrary style transfer in one forward pass: adaptive instance normalisation (AdaIN).

Huang & Belongie, ICCV 2017 (arXiv:1703.06868). Features of a photo get mean and standard deviation
of a style picture's, channel by channel, and a decoder makes a picture of them. There the encoder
is a VGG up to relu4_1; here it is the first stages of any convolutional network of timm.
"""

from typing import Any

import torch
from torch import nn

from carsclf.errors import ConfigError

EPSILON = 1e-5  # as published, so that a flat channel divides by something


def statistics(features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation over the places of each channel: (n, c, 1, 1) of (n, c, h, w)."""
    variance, mean = torch.var_mean(features, dim=(2, 3), keepdim=True)
    return mean, (variance + EPSILON).sqrt()


def adain(content: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
    """Content's features, each channel with mean and deviation of the style's (equation 8)."""
    return toward(content, *statistics(style))


def toward(content: torch.Tensor, mean: torch.Tensor, deviation: torch.Tensor) -> torch.Tensor:
    """Content's features with these means and deviations instead of their own."""
    own_mean, own_deviation = statistics(content)
    return (content - own_mean) / own_deviation * deviation + mean


class Encoder(nn.Module):
    """A pretrained network's stages up to `stage`, frozen: from pixels in 0..1 to their features.

    The last is what is transferred; the others take part in the loss. Raises ConfigError where the
    network has no such stages.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, network: nn.Module, stage: int, name: str) -> None:
        super().__init__()
        self.network, self.stage = network.eval().requires_grad_(False), stage
        config: Any = network.pretrained_cfg
        for key in ("mean", "std"):
            self.register_buffer(key, torch.tensor(config[key]).view(-1, 1, 1), persistent=False)
        infos: Any = getattr(network, "feature_info", None) or []
        steps = [info["reduction"] for info in infos]
        if not hasattr(network, "forward_intermediates") or sorted(set(steps)) != steps:
            raise ConfigError(
                f"model.name={name} has no stages that each halve the picture: take a "
                "convolutional network, such as tf_efficientnet_lite0 or resnet18"
            )
        if not 2 <= stage <= len(steps):
            raise ConfigError(f"stage={stage}: expected 2 to {len(steps)} stages of {name}")
        self.step: int = steps[stage - 1]
        self.channels: list[int] = [info["num_chs"] for info in infos[:stage]]
        self.steps: list[int] = steps[:stage]

    def forward(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """(n, 3, h, w) in 0..1 to the features of each stage, (n, channels, h/step, w/step)."""
        network: Any = self.network
        normal = (pictures - self.mean) / self.std
        return network.forward_intermediates(
            normal, indices=list(range(self.stage)), stop_early=True, intermediates_only=True
        )

    def train(self, mode: bool = True) -> "Encoder":
        return super().train(False)


class Decoder(nn.Sequential):
    """Features back to pixels in 0..1: nearest upsampling and reflected edges, as published.

    Narrower towards the whole size, where a channel costs most.
    """

    def __init__(self, channels: int, step: int) -> None:
        width = _width(step)
        layers: list[nn.Module] = [*_conv(channels, width), *_conv(width, width)]
        while step > 1:
            step //= 2
            layers += [nn.Upsample(scale_factor=2), *_conv(width, _width(step))]
            width = _width(step)
        super().__init__(*layers, nn.Conv2d(width, 3, 3, padding=1, padding_mode="reflect"))


def _width(step: int) -> int:
    return min(64, 16 * step)


def _conv(before: int, after: int) -> list[nn.Module]:
    return [nn.Conv2d(before, after, 3, padding=1, padding_mode="reflect"), nn.ReLU()]
