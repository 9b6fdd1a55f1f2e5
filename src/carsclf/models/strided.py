"""A way round a fault of oneDNN: 1x1 convolutions of few channels that leave pixels out."""

from functools import partial

import torch
from torch import nn

BLOCK = 16  # channels that oneDNN takes together: 8 with AVX2, 16 with AVX-512


def thin_first(network: nn.Module) -> nn.Module:
    """Lets such convolutions leave pixels out of their input instead; what they say is the same.

    In the layout channels_last their gradient is written past its buffer, so that the process dies
    or goes on with wrong numbers (oneDNN 3.12, issue 6035). Stems whose branches are merged after
    training have one: FastViT, MobileOne, RepVGG. Weights and their names stay as they are.
    """
    for module in network.modules():
        if (
            isinstance(module, nn.Conv2d)
            and module.kernel_size == (1, 1)
            and module.padding == (0, 0)
            and module.groups == 1
            and module.in_channels < BLOCK
            and module.stride != (1, 1)
        ):
            module.register_forward_pre_hook(partial(_thinned, stride=module.stride))
            module.stride = (1, 1)
    return network


def _thinned(
    module: nn.Module, given: tuple[torch.Tensor], *, stride: tuple[int, ...]
) -> torch.Tensor:
    """(batch, channels, height, width) with every so manieth row and column."""
    return given[0][..., :: stride[0], :: stride[1]]
