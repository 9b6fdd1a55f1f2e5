"""The step that a training repeats, on pictures made up in memory, for each way to run it."""

import copy
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import nn

from carsclf.machine.precision import Choice, Steps, autocast, settle
from carsclf.machine.timing import Step
from carsclf.models.boundary import HEAD, cut, resolve
from carsclf.models.networks import head_names, split_parameters


def settle_training(
    config: DictConfig, network: nn.Module, device: torch.device
) -> tuple[DictConfig, Choice]:
    """See `settle`; with `mode.cache` the frozen part runs once per photo instead of per epoch."""
    boundary = resolve(config.mode.boundary, network)
    cached = bool(config.mode.cache) and boundary is not None
    steps = timed_steps(config, network, boundary, cached=cached)
    return settle(
        config,
        device,
        steps,
        model=config.model.name,
        args=str(config.model.args),
        boundary=boundary,
        cached=cached,
        image_size=config.data.image_size,
    )


def timed_steps(
    config: DictConfig, network: nn.Module, boundary: str | None, *, cached: bool
) -> Steps:
    """What is timed: forward, backward and update of all that runs again in every epoch.

    Where only a head trains on cached features that is next to nothing: there it is the frozen
    part's forward, run once per photo.
    """

    def make(choices: list[Choice], device: torch.device, pictures: int) -> dict[Choice, Step]:
        prefix, rest = (None, network) if boundary is None else cut(network, boundary, size)
        batch = torch.rand(pictures, 3, size, size)
        features = batch
        if cached and prefix is not None and boundary != HEAD:
            features, prefix = prefix(batch), None
        only_forward = cached and boundary == HEAD
        parts = {
            layout: _moved(prefix, rest, features, device, layout)
            for layout in sorted({choice.channels_last for choice in choices})
        }
        return {
            choice: _step(config, choice, device, *parts[choice.channels_last], only_forward, heads)
            for choice in choices
        }

    size, heads = config.data.image_size, head_names(network)
    return make


def _moved(
    prefix: nn.Module | None,
    rest: nn.Module,
    batch: torch.Tensor,
    device: torch.device,
    channels_last: bool,
) -> tuple[nn.Module | None, nn.Module, torch.Tensor]:
    """Copies on the device and in the layout."""
    form: Any = torch.channels_last if channels_last else torch.contiguous_format
    parts = [p and copy.deepcopy(p).to(device, memory_format=form) for p in (prefix, rest)]  # type: ignore[call-overload]
    if batch.dim() == 4:
        batch = batch.to(memory_format=form)
    assert parts[1] is not None
    return parts[0], parts[1].train(), batch.to(device)


def _step(
    config: DictConfig,
    choice: Choice,
    device: torch.device,
    prefix: nn.Module | None,
    rest: nn.Module,
    batch: torch.Tensor,
    only_forward: bool,
    heads: tuple[str, ...],
) -> Step:
    def forward() -> torch.Tensor:
        with autocast(choice.precision, device):
            return rest(batch if prefix is None else prefix(batch)).float()

    if only_forward:
        return forward
    optimizer = instantiate(config.optimizer)(*split_parameters(rest, heads))
    for group in optimizer.param_groups:
        group["lr"] = 0.0  # the same work, and weights that stay finite
    targets = torch.zeros(len(batch), dtype=torch.long, device=device)

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(forward(), targets).backward()
        optimizer.step()

    return step
