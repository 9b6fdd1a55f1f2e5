"""Optimizers with separate learning rates for backbone and head."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from carsclf.errors import ConfigError
from carsclf.features.head_grid import HeadGrid
from carsclf.training.schedule_free import library

Parameters = list[nn.Parameter]
ITERATIONS = 10  # of L-BFGS in one epoch


def sgd(
    backbone: Parameters,
    head: Parameters,
    layers: Sequence[int] = (),  # of each parameter of the backbone, for layer_decay
    *,
    lr: float,
    head_lr_factor: float,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
    layer_decay: float | None = None,
) -> Optimizer:
    """SGD with momentum; the head learns at `lr * head_lr_factor`. layer_decay: see `_decayed`."""
    if nesterov and momentum <= 0:
        raise ConfigError("optimizer.nesterov=true needs optimizer.momentum above 0")
    decayed = _decayed(backbone, layer_decay, layers)
    groups = _groups(decayed, head, lr, head_lr_factor, weight_decay)
    return torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov, fused=True)


def adamw(
    backbone: Parameters,
    head: Parameters,
    layers: Sequence[int] = (),  # of each parameter of the backbone, for layer_decay
    *,
    lr: float,
    head_lr_factor: float,
    weight_decay: float,
    betas: tuple[float, float] = (0.9, 0.999),
    layer_decay: float | None = None,
) -> Optimizer:
    """AdamW (Loshchilov and Hutter 2019); the head learns at `lr * head_lr_factor`.

    layer_decay: see `_decayed`.
    """
    decayed = _decayed(backbone, layer_decay, layers)
    groups = _groups(decayed, head, lr, head_lr_factor, weight_decay)
    return torch.optim.AdamW(groups, lr=lr, betas=(betas[0], betas[1]), fused=True)


def schedule_free(
    backbone: Parameters,
    head: Parameters,
    *,
    lr: float,
    head_lr_factor: float,
    weight_decay: float,
    betas: tuple[float, float] = (0.9, 0.999),
    warmup_epochs: float = 0.0,
    layer_decay: float | None = None,
    layers: Sequence[int] = (),
    steps: int = 0,
) -> Optimizer:
    """AdamW at a constant rate whose average is judged (Defazio et al. 2024); groups as `adamw`'s.

    steps: of an epoch; the rate rises in a line over the first `warmup_epochs` of them, which count
    less in the average. Its parameters take steps until carsclf.training.schedule_free puts the
    average there. Raises ConfigError where the library is not installed.
    """
    decayed = _decayed(backbone, layer_decay, layers)
    optimizer = library().AdamWScheduleFree(
        _groups(decayed, head, lr, head_lr_factor, weight_decay),
        lr=lr,
        betas=(betas[0], betas[1]),
        warmup_steps=round(warmup_epochs * steps),
    )
    optimizer.train()
    return optimizer


def lbfgs(backbone: Parameters, head: Parameters, *, weight_decay: float) -> Optimizer:
    """L-BFGS with a strong-Wolfe line search, for a linear head on all cached features at once.

    Minimises mean cross-entropy + weight_decay / 2 x |weights|^2, the bias left alone as in
    scikit-learn's LogisticRegression, where C = 1 / (weight_decay x pictures). A step, which is an
    epoch here, is ITERATIONS iterations. Liu and Nocedal 1989.
    """
    _refuse("lbfgs", backbone)
    if weight_decay < 0:
        raise ConfigError(f"optimizer.weight_decay={weight_decay}: expected 0 or more")
    group = {"params": head, "weight_decay": weight_decay, "name": "head"}
    return PenalisedLBFGS(
        [group], max_iter=ITERATIONS, history_size=10, line_search_fn="strong_wolfe"
    )


def head_grid(backbone: Parameters, head: Parameters, *, vectors: int = 1) -> Optimizer:
    """Many linear heads, one an epoch, of penalties that `schedule=penalties` lets fall.

    Minimises what `lbfgs` does, to the end in each epoch. vectors: of a pooling that has several
    side by side (`mode.pool=both`), heads are fitted to each alone and to all. See
    carsclf.features.head_grid.
    """
    _refuse("head_grid", backbone)
    if [p.ndim > 1 for p in head] != [True, False]:
        raise ConfigError(
            "optimizer=head_grid trains a linear head with a bias, and this network has another: "
            "take optimizer=lbfgs"
        )
    return HeadGrid(*head, vectors=vectors)


class PenalisedLBFGS(torch.optim.LBFGS):
    """torch's L-BFGS with the weight decay of its group, on weights and not on biases."""

    def step(self, closure: Callable[[], Any]) -> Any:  # type: ignore[override]
        (group,) = self.param_groups
        decay, weights = group["weight_decay"], [p for p in group["params"] if p.ndim > 1]

        def penalised() -> torch.Tensor:
            loss = closure()
            for weight in weights:
                assert weight.grad is not None
                weight.grad.add_(weight.detach(), alpha=decay)
                loss = loss + decay / 2 * weight.detach().square().sum()
            return loss

        return super().step(penalised)


def _refuse(name: str, backbone: Parameters) -> None:
    if backbone:
        raise ConfigError(f"optimizer={name} trains a linear head on frozen features: mode=freeze")


def _decayed(
    backbone: Parameters, decay: float | None, layers: Sequence[int]
) -> dict[str, tuple[Parameters, float]]:
    """The backbone's groups by name, each with its share of the rate: the lowest layers first.

    decay: a layer learns at this share of the rate of the one above it, the head being the last
    (Clark et al. 2020, Bao et al. 2021); None: all at one rate. layers: of each parameter, how far
    from the last one it lies.
    """
    if decay is None or not layers:  # none are told where only the time of a step is measured
        return {"backbone": (backbone, 1.0)}
    groups: dict[int, Parameters] = {}
    for parameter, layer in zip(backbone, layers, strict=True):
        groups.setdefault(layer, []).append(parameter)
    return {f"backbone-{n}": (groups[n], decay**n) for n in sorted(groups, reverse=True)}


def _groups(
    backbone: dict[str, tuple[Parameters, float]],
    head: Parameters,
    lr: float,
    factor: float,
    weight_decay: float,
) -> list[dict[str, Any]]:
    if lr <= 0 or factor <= 0 or weight_decay < 0:
        raise ConfigError(
            f"optimizer.lr={lr}, head_lr_factor={factor}, weight_decay={weight_decay}: expected "
            "rates above 0 and a decay of 0 or more"
        )
    groups = [
        *(
            {"params": part, "lr": lr * share, "weight_decay": weight_decay, "name": name}
            for name, (part, share) in backbone.items()
        ),
        {"params": head, "lr": lr * factor, "weight_decay": weight_decay, "name": "head"},
    ]
    return [group for group in groups if group["params"]]
