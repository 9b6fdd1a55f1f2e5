"""Averages of the weights along a training, which are what is validated and exported."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, get_swa_multi_avg_fn

from carsclf.data.loaders import Item
from carsclf.models.statistics import measure_anew


class Average(AveragedModel):
    """A second network beside the one that trains; torch's, with when it takes its weights.

    each: `step` or `epoch`; first: the first epoch that counts, from 0; lr_factor: the rate from
    there on as a share of the optimizer's own, None for the schedule's. It never trains itself, so
    that several processes wait for no gradients of it.
    """

    def __init__(
        self,
        network: nn.Module,
        update: Any,
        *,
        each: str,
        first: int = 0,
        lr_factor: float | None = None,
        buffers: bool = False,
    ) -> None:
        super().__init__(network, multi_avg_fn=update, use_buffers=buffers)
        self.requires_grad_(False)
        self.each, self.first, self.lr_factor = each, first, lr_factor

    @property
    def begun(self) -> bool:
        """Whether there are weights in it."""
        return bool(self.n_averaged)

    def holds(self, epoch: int) -> bool:
        """Whether it decides on the rate in this epoch."""
        return self.lr_factor is not None and epoch >= self.first

    def hold_rates(self, optimizer: Any, rates: Sequence[float], epoch: int) -> None:
        """Sets the rates of an epoch in which it decides; `rates` are the optimizer's own."""
        if self.lr_factor is not None and self.holds(epoch):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * self.lr_factor

    def after_step(self, network: nn.Module) -> None:
        """Takes the weights, if each step counts."""
        if self.each == "step":
            self.update_parameters(network)

    def after_epoch(
        self,
        network: nn.Module,
        trainer: pl.Trainer,
        inputs: Callable[[Item], torch.Tensor],
        size: int | None,
    ) -> None:
        """Takes the weights, if this epoch counts, and computes BatchNorm's statistics anew.

        See `renew_statistics`.
        """
        if self.each != "epoch" or trainer.current_epoch < self.first:
            return
        self.update_parameters(network)
        renew_statistics(self.module, network, trainer, inputs, size)


def renew_statistics(
    average: nn.Module,
    network: nn.Module,
    trainer: pl.Trainer,
    inputs: Callable[[Item], torch.Tensor],
    size: int | None,
) -> None:
    """Computes an average's BatchNorm statistics, at the end of an epoch; `network` trains.

    From the epoch's pictures once more, unmixed, as they will be evaluated; of several processes
    the mean is taken. inputs: of a batch what the network takes; size: of a mini-batch, where
    batches are chunks.
    """
    with torch.no_grad(), trainer.precision_plugin.forward_context():
        for norm in new_statistics(average, network, _again(trainer, inputs, size)):
            for tensor in (norm.running_mean, norm.running_var):
                tensor.copy_(trainer.strategy.reduce(tensor, reduce_op="mean"))


def _again(
    trainer: pl.Trainer, inputs: Callable[[Item], torch.Tensor], size: int | None
) -> Iterator[torch.Tensor]:
    loader: Any = trainer.train_dataloader
    for batch in islice(loader, int(trainer.num_training_batches)):
        taken = inputs(trainer.strategy.batch_to_device(batch))
        yield from taken.split(size or len(taken))


def none(network: nn.Module, epochs: int) -> None:
    """The weights as they are."""


def ema(network: nn.Module, epochs: int, *, decay: float) -> Average:
    """An exponential moving average, after each step (Polyak and Juditsky 1992; Tan and Le 2019).

    At its t-th step the decay is at most (1 + t) / (10 + t). BatchNorm's statistics are averaged
    with the weights that they belong to, and lag alike; its counts are the last ones.
    """

    def update(averaged: list[torch.Tensor], current: list[torch.Tensor], done: Any) -> None:
        if averaged[0].is_floating_point():
            now = min(decay, (1 + int(done)) / (10 + int(done)))
            get_ema_multi_avg_fn(now)(averaged, current, done)
        else:
            for kept, tensor in zip(averaged, current, strict=True):
                kept.copy_(tensor)

    return Average(network, update, each="step", buffers=True)


def swa(network: nn.Module, epochs: int, *, start: float, lr_factor: float | None) -> Average:
    """The mean of the weights at the ends of the epochs after a share `start` of all, at least one.

    Stochastic weight averaging (Izmailov et al. 2018). BatchNorm's statistics belong to none of
    the weights that were averaged, and are computed anew: see `new_statistics`.
    """
    update = get_swa_multi_avg_fn()
    return Average(network, update, each="epoch", first=int(start * epochs), lr_factor=lr_factor)


def learns(norm: nn.Module) -> bool:
    """Whether it is a BatchNorm whose statistics go on: a frozen one keeps what it has."""
    return isinstance(norm, _BatchNorm) and all(p.requires_grad for p in norm.parameters())


def new_statistics(
    average: nn.Module, trained: nn.Module, inputs: Iterable[torch.Tensor]
) -> list[Any]:
    """Gives the average's BatchNorms the mean statistics of these batches; those it has given.

    Frozen ones (of `trained`, the network that trains) stay as they are.
    """
    pairs = zip(trained.modules(), average.modules(), strict=True)
    norms: list[Any] = [norm for own, norm in pairs if learns(own)]
    if not norms:
        return []
    measure_anew(norms, average.eval(), inputs)
    return norms
