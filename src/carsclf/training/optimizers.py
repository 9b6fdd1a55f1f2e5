"""Optimizers with separate learning rates for backbone and head."""

from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from carsclf.errors import ConfigError

Parameters = list[nn.Parameter]


def sgd(
    backbone: Parameters,
    head: Parameters,
    *,
    lr: float,
    head_lr_factor: float,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
) -> Optimizer:
    """SGD with momentum; the head learns at `lr * head_lr_factor`."""
    if nesterov and momentum <= 0:
        raise ConfigError("optimizer.nesterov=true needs optimizer.momentum above 0")
    groups = _groups(backbone, head, lr, head_lr_factor, weight_decay)
    return torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov, fused=True)


def adamw(
    backbone: Parameters,
    head: Parameters,
    *,
    lr: float,
    head_lr_factor: float,
    weight_decay: float,
    betas: tuple[float, float] = (0.9, 0.999),
) -> Optimizer:
    """AdamW (Loshchilov and Hutter 2019); the head learns at `lr * head_lr_factor`."""
    groups = _groups(backbone, head, lr, head_lr_factor, weight_decay)
    return torch.optim.AdamW(groups, lr=lr, betas=(betas[0], betas[1]), fused=True)


def _groups(
    backbone: Parameters, head: Parameters, lr: float, factor: float, weight_decay: float
) -> list[dict[str, Any]]:
    if lr <= 0 or factor <= 0 or weight_decay < 0:
        raise ConfigError(
            f"optimizer.lr={lr}, head_lr_factor={factor}, weight_decay={weight_decay}: expected "
            "rates above 0 and a decay of 0 or more"
        )
    groups = [
        {"params": backbone, "lr": lr, "weight_decay": weight_decay, "name": "backbone"},
        {"params": head, "lr": lr * factor, "weight_decay": weight_decay, "name": "head"},
    ]
    return [group for group in groups if group["params"]]
